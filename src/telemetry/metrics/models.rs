//! Which models the metrics tell apart. Clients choose names, so that there is a limit.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

/// What every model is called that is not told apart.
pub const OTHER: &str = "other";

/// The longest name that is shown, in bytes.
const LONGEST: usize = 100;

/// The models that are told apart.
#[derive(Debug, Default)]
pub struct Models {
    always: BTreeSet<Arc<str>>,
    most: usize,
    /// Those that a provider has answered for, in the order of their coming at most so many.
    answered: RwLock<BTreeSet<Arc<str>>>,
}

impl Models {
    /// Tells `always` apart, and at most so many others.
    pub fn new(always: &[String], most: usize) -> Self {
        let always = always.iter().map(|name| clean(name)).collect();
        Self { always, most, answered: RwLock::default() }
    }

    /// A provider has answered for this model: it exists.
    pub fn admit(&self, model: &str) {
        let name = clean(model);
        if name.is_empty() || self.find(&name).is_some() {
            return;
        }
        let mut answered = self.answered.write().unwrap_or_else(PoisonError::into_inner);
        if answered.len() < self.most {
            answered.insert(name);
        }
    }

    /// What metrics call this model. Empty: none was asked for.
    pub fn label(&self, model: &str) -> Arc<str> {
        if model.is_empty() {
            return Arc::from("");
        }
        self.find(&clean(model)).unwrap_or_else(|| Arc::from(OTHER))
    }

    fn find(&self, name: &str) -> Option<Arc<str>> {
        let answered = || self.answered.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        self.always.get(name).cloned().or_else(answered)
    }
}

/// The name as it may stand in a label: short, and without what no name of a model has.
fn clean(model: &str) -> Arc<str> {
    let is_usual = |letter: char| letter.is_ascii_alphanumeric() || "-_.:/@+".contains(letter);
    let usual = |letter| if is_usual(letter) { letter } else { '_' };
    model.chars().take(LONGEST).map(usual).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_told_apart_when_a_provider_has_answered_for_it_up_to_a_limit() {
        let models = Models::new(&["known".to_owned()], 2);
        assert_eq!([&*models.label("known"), &*models.label("a"), &*models.label("")], ["known", OTHER, ""]);
        for model in ["a", "known", "", "b", "a", "c"] {
            models.admit(model);
        }
        assert_eq!(["known", "a", "b", "c"].map(|model| models.label(model).to_string()), ["known", "a", "b", OTHER]);
    }

    #[test]
    fn a_name_is_short_and_has_nothing_that_no_name_has() {
        let models = Models::new(&[], 9);
        let (odd, long) = ("a\"b\n{c}=é", "x".repeat(1000));
        models.admit(odd);
        models.admit(&long);
        assert_eq!(&*models.label(odd), "a_b__c___");
        assert_eq!(models.label(&long).len(), LONGEST);
    }
}
