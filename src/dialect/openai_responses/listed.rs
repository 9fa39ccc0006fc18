//! The items that a response object lists at its end, found among those that were streamed.

use std::collections::{HashMap, HashSet, VecDeque};

use super::decode::ItemHead;

/// Which of `known`, in the order in which they began, each of `listed` is. `None`: it was not streamed.
///
/// An item has its id. Some servers give none, or another one at the end: then the items of each type are taken in order.
pub(super) fn listed(known: &[&ItemHead], listed: &[ItemHead]) -> Vec<Option<usize>> {
    let first = known.iter().enumerate().rev();
    let ids: HashMap<&str, usize> = first.map(|(place, head)| (head.id.as_str(), place)).collect();
    let named = |head: &ItemHead| {
        let place = *ids.get(head.id.as_str()).filter(|_| !head.id.is_empty())?;
        known.get(place).filter(|known| known.wire == head.wire).map(|_| place)
    };
    let taken: HashSet<usize> = listed.iter().filter_map(named).collect();
    let mut free: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (place, head) in known.iter().enumerate().filter(|(place, _)| !taken.contains(place)) {
        free.entry(&head.wire).or_default().push_back(place);
    }
    let mut next = |head: &ItemHead| free.get_mut(head.wire.as_str())?.pop_front();
    listed.iter().map(|head| named(head).or_else(|| next(head))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BlockKind;

    #[test]
    fn items_are_found_by_their_ids_and_else_in_order() {
        let head = |wire: &str, id: &str| ItemHead { id: id.to_owned(), wire: wire.to_owned(), kind: BlockKind::Text };
        let known = [head("reasoning", "r1"), head("message", "m1"), head("message", ""), head("message", "m3")];
        let known: Vec<&ItemHead> = known.iter().collect();
        let find = |items: &[ItemHead]| listed(&known, items);
        let message = |id: &str| head("message", id);
        assert_eq!(find(&[message("m3"), message("m1")]), [Some(3), Some(1)]);
        assert_eq!(find(&[head("reasoning", "other"), message("m3")]), [Some(0), Some(3)]);
        assert_eq!(find(&[message(""), message("m1"), message("x"), message("y")]), [Some(2), Some(1), Some(3), None]);
        assert_eq!(find(&[head("function_call", "m1")]), [None]);
    }
}
