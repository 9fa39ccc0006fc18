//! What an answer comes to when a script's decisions are applied to it, as it was read.

use std::collections::{HashMap, HashSet, VecDeque};

use luthien::{model::Dialect, policy::Watch};

use super::{
    super::reader::{Answer, Head, Item, Kind, sse::joined},
    Part, Script, TOOL_ARGUMENTS, tool_kind,
};

/// What stands where nothing else is left.
const REMOVED: &str = "[removed by policy]";

/// An item on its way.
#[derive(Debug, Clone)]
struct Moving {
    item: Item,
    /// Whether it is the provider's.
    came: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Kept,
    Edited,
    Gone,
}

/// An answer as the policies change it.
pub struct Model {
    dialect: Dialect,
    heads: Vec<Head>,
    items: Vec<Moving>,
}

/// What a stage does with a block.
enum Plan {
    Whole { parts: Option<Vec<Part>>, text: String, said: bool },
    Deltas(Edited),
}

/// The edits of a text that comes in fragments.
struct Edited {
    edits: Vec<(usize, usize, String)>,
    /// The characters of each fragment, with their places in the whole text; halves of a pair share one.
    fragments: VecDeque<Vec<(char, usize, usize)>>,
    /// Edits that stand in the text already.
    written: usize,
}

impl Model {
    pub fn new(dialect: Dialect, answer: &Answer) -> Self {
        let moving = |item: &Item| Moving { item: item.clone(), came: true, state: State::Kept };
        Self { dialect, heads: answer.heads.clone(), items: answer.items.iter().map(moving).collect() }
    }

    /// The answer that is left, and whether anything changed.
    pub fn finish(mut self) -> (Answer, bool) {
        let changed = self.repair();
        self.drop_citations();
        let items = self.items.into_iter().filter(|moving| moving.state != State::Gone).map(|moving| moving.item);
        // What a policy makes a provider's own tool say that says nothing has no place on the wire.
        let responses = self.dialect == Dialect::OpenaiResponses;
        let has_place = |item: &Item| match item {
            Item::Text(block, _) => self.heads[*block].has_text || !responses,
            _ => true,
        };
        let items: Vec<Item> = items.filter(has_place).collect();
        (Answer { heads: self.heads, items, explanation: None }, changed)
    }

    /// One policy.
    pub fn apply(&mut self, script: &Script) {
        let mut plans = self.plans(script);
        let mut added = script.ending();
        for moving in std::mem::take(&mut self.items) {
            if moving.state == State::Gone {
                self.items.push(moving);
                continue;
            }
            let block = match &moving.item {
                Item::Open(block) | Item::Text(block, _) | Item::Extra(block, _) | Item::Close(block) => Some(*block),
                Item::Stop(..) | Item::End => {
                    for part in std::mem::take(&mut added) {
                        self.make(&part, 0);
                    }
                    None
                }
                Item::Usage(_) | Item::Error => None,
            };
            match block.and_then(|block| Some((block, plans.get_mut(&block)?))) {
                None => self.items.push(moving),
                Some((_, Plan::Deltas(edited))) => self.edit(moving, edited),
                Some((_, Plan::Whole { parts: None, .. })) => self.gone(moving),
                Some((block, Plan::Whole { parts: Some(parts), text, said })) => {
                    self.replace(moving, block, parts, text, said);
                }
            }
        }
    }

    fn plans(&self, script: &Script) -> HashMap<usize, Plan> {
        let mut opened: HashMap<(&str, u32), u32> = HashMap::new();
        let mut decided: HashMap<(&str, u32), u32> = HashMap::new();
        let mut plans = HashMap::new();
        let mut whole = HashSet::new();
        for moving in self.items.iter().filter(|moving| moving.state != State::Gone) {
            match &moving.item {
                Item::Open(block) => {
                    let head = &self.heads[*block];
                    let of = (head.kind.name(), head.choice);
                    let count = opened.entry(of).or_default();
                    let key = (of.0, of.1, *count);
                    *count += 1;
                    match script.watch(key) {
                        Watch::Ignore => {}
                        Watch::Whole | Watch::Parts => {
                            whole.insert(*block);
                        }
                        Watch::Deltas => {
                            let fragments = self.fragments(*block);
                            let text = joined(&fragments.concat(), false);
                            let (edits, _) = script.edits((of.0, of.1), &text, 0, true);
                            plans.insert(*block, Plan::Deltas(Edited::new(edits, &fragments)));
                        }
                    }
                }
                Item::Close(block) if whole.contains(block) => {
                    let head = &self.heads[*block];
                    let count = decided.entry((head.kind.name(), head.choice)).or_default();
                    let text = joined(&self.fragments(*block).concat(), false);
                    let fate = script.fate((head.kind.name(), head.choice, *count), &text);
                    *count += 1;
                    let parts = fate.map(|parts| itself_first(parts, &head.kind, &text));
                    plans.insert(*block, Plan::Whole { parts, text, said: false });
                }
                _ => {}
            }
        }
        plans
    }

    fn fragments(&self, block: usize) -> Vec<String> {
        let visible = self.items.iter().filter(|moving| moving.state != State::Gone);
        visible
            .filter_map(|moving| match &moving.item {
                Item::Text(of, text) if *of == block => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    fn edit(&mut self, moving: Moving, edited: &mut Edited) {
        match &moving.item {
            Item::Text(block, _) => {
                let (text, touched) = edited.next_fragment();
                if !touched {
                    self.items.push(moving);
                } else if text.is_empty() {
                    self.gone(moving);
                } else {
                    let item = Item::Text(*block, text);
                    self.items.push(Moving { item, came: moving.came, state: State::Edited });
                }
            }
            Item::Close(block) => {
                let rest = edited.rest();
                if !rest.is_empty() {
                    let item = Item::Text(*block, rest);
                    self.items.push(Moving { item, came: false, state: State::Edited });
                }
                self.items.push(moving);
            }
            _ => self.items.push(moving),
        }
    }

    fn gone(&mut self, moving: Moving) {
        if moving.came {
            self.items.push(Moving { state: State::Gone, ..moving });
        }
    }

    fn replace(&mut self, moving: Moving, block: usize, parts: &[Part], text: &str, said: &mut bool) {
        let choice = self.heads[block].choice;
        let at = parts.iter().position(|part| matches!(part, Part::Itself(_)));
        if matches!(moving.item, Item::Open(_)) {
            for part in &parts[..at.unwrap_or(parts.len())] {
                self.make(part, choice);
            }
        }
        let close = matches!(moving.item, Item::Close(_));
        match at.map(|at| &parts[at]) {
            Some(Part::Itself(Some(new))) if new != text => self.rewrite(moving, block, new, said),
            Some(_) => self.items.push(moving),
            None => self.gone(moving),
        }
        if let (true, Some(at)) = (close, at) {
            for part in &parts[at + 1..] {
                self.make(part, choice);
            }
        }
    }

    fn rewrite(&mut self, moving: Moving, block: usize, new: &str, said: &mut bool) {
        let text = || Item::Text(block, new.to_owned());
        match &moving.item {
            Item::Text(..) if std::mem::replace(said, true) => self.gone(moving),
            Item::Text(..) => self.items.push(Moving { item: text(), came: moving.came, state: State::Edited }),
            Item::Extra(_, extra) if is_citation(extra) => self.gone(moving),
            Item::Close(_) if !std::mem::replace(said, true) => {
                self.items.push(Moving { item: text(), came: false, state: State::Edited });
                self.items.push(moving);
            }
            _ => self.items.push(moving),
        }
    }

    fn make(&mut self, part: &Part, choice: u32) {
        let (kind, text) = match part {
            Part::Text(text) => (Kind::Text, text.as_str()),
            Part::Tool(id) => (tool_kind(id), TOOL_ARGUMENTS),
            Part::Itself(_) => unreachable!("only a block has itself"),
        };
        self.heads.push(Head { kind, choice, has_text: true });
        let block = self.heads.len() - 1;
        for item in [Item::Open(block), Item::Text(block, text.to_owned()), Item::Close(block)] {
            self.items.push(Moving { item, came: false, state: State::Edited });
        }
    }

    /// What the framework does so that the answer stays legal. Returns whether policies changed anything.
    fn repair(&mut self) -> bool {
        let mut changed = false;
        let mut servers = HashSet::new();
        let mut dropped = HashSet::new();
        let mut left: HashMap<u32, (usize, usize)> = HashMap::new();
        // Whether the last block is a thought, and whether what followed it is gone.
        let mut thoughts: HashMap<u32, (bool, bool)> = HashMap::new();
        let mut bare = HashMap::new();
        for mut moving in std::mem::take(&mut self.items) {
            if let Item::Open(block) = moving.item {
                let head = self.heads[block].clone();
                let thought = thoughts.entry(head.choice).or_default();
                *thought = match moving.state {
                    State::Gone => (thought.0, thought.0 || thought.1),
                    _ => (head.kind == Kind::Thinking, false),
                };
                let bound = head.kind == Kind::Thinking && changed && self.dialect == Dialect::AnthropicMessages;
                match &head.kind {
                    Kind::ServerTool(id) if moving.state == State::Gone => {
                        servers.insert(id.clone());
                    }
                    _ if moving.state == State::Gone => {}
                    Kind::ServerResult(of) if servers.contains(of) => {
                        dropped.insert(block);
                    }
                    _ if bound && moving.state == State::Kept => {
                        dropped.insert(block);
                    }
                    kind => {
                        let left = left.entry(head.choice).or_default();
                        left.0 += usize::from(*kind != Kind::Thinking);
                        left.1 += usize::from(matches!(kind, Kind::Tool { .. }));
                    }
                }
            }
            if let Some(block) = self.emptied(&moving, &mut bare).filter(|block| !dropped.contains(block)) {
                let item = Item::Text(block, REMOVED.to_owned());
                self.items.push(Moving { item, came: false, state: State::Edited });
            }
            changed |= moving.state != State::Kept;
            if let (Item::Stop(choice, reason), true) = (&mut moving.item, changed) {
                let (content, tools) = left.entry(*choice).or_default();
                let orphan = thoughts.get(choice).is_some_and(|thought| thought.1);
                if *content == 0 || (orphan && self.dialect == Dialect::OpenaiResponses) {
                    *content += 1;
                    let part = Part::Text(REMOVED.to_owned());
                    self.make(&part, *choice);
                }
                let words = match self.dialect {
                    Dialect::AnthropicMessages => Some((&["tool_use"][..], "end_turn")),
                    Dialect::OpenaiChat => Some((&["tool_calls", "function_call"][..], "stop")),
                    // An answer is completed whatever it asks for.
                    Dialect::OpenaiResponses => None,
                };
                let said = reason.as_deref().unwrap_or_default();
                match words {
                    Some((tool, end)) if tool.contains(&said) && *tools == 0 => *reason = Some(end.to_owned()),
                    Some((tool, end)) if said == end && *tools > 0 => *reason = Some(tool[0].to_owned()),
                    _ => {}
                }
            }
            let (Item::Open(block) | Item::Text(block, _) | Item::Extra(block, _) | Item::Close(block)) = moving.item
            else {
                self.items.push(moving);
                continue;
            };
            if !dropped.contains(&block) {
                self.items.push(moving);
            }
        }
        changed
    }

    /// The block that ends here, if it is a text of Messages and policies took all of it.
    fn emptied(&self, moving: &Moving, bare: &mut HashMap<usize, bool>) -> Option<usize> {
        let is_gone = moving.state == State::Gone;
        match &moving.item {
            Item::Open(block)
                if !is_gone && self.dialect == Dialect::AnthropicMessages && self.heads[*block].kind == Kind::Text =>
            {
                bare.insert(*block, moving.state == State::Edited);
            }
            Item::Text(block, text) if !is_gone && !text.is_empty() => {
                bare.remove(block);
            }
            Item::Text(block, _) if moving.state != State::Kept => {
                bare.entry(*block).and_modify(|by_policy| *by_policy = true);
            }
            Item::Close(block) if !is_gone => return bare.remove(block).filter(|by_policy| *by_policy).map(|_| *block),
            _ => {}
        }
        None
    }

    /// Citations name places in a text: they cannot stand behind an edit of it.
    fn drop_citations(&mut self) {
        let mut edited = HashSet::new();
        self.items.retain(|moving| {
            if let (Item::Text(block, _), false) = (&moving.item, moving.state == State::Kept) {
                edited.insert(*block);
            }
            !matches!(&moving.item, Item::Extra(block, extra)
                if edited.contains(block) && is_citation(extra))
        });
    }
}

fn is_citation(extra: &serde_json::Value) -> bool {
    extra["type"] == "citations_delta" || !extra["annotation"].is_null()
}

/// The first block of the same kind is the block itself; another one behind it is new.
fn itself_first(mut parts: Vec<Part>, kind: &Kind, text: &str) -> Vec<Part> {
    let is_text = |part: &Part| matches!(part, Part::Text(_)) && *kind == Kind::Text;
    let Some(at) = parts.iter().position(|part| matches!(part, Part::Itself(_)) || is_text(part)) else { return parts };
    if let Part::Text(text) = &parts[at] {
        parts[at] = Part::Itself(Some(text.clone()));
    }
    for part in &mut parts[at + 1..] {
        if let Part::Itself(new) = part {
            *part = Part::Text(new.take().unwrap_or_else(|| text.to_owned()));
        }
    }
    parts
}

impl Edited {
    fn new(edits: Vec<(usize, usize, String)>, fragments: &[String]) -> Self {
        let flat: Vec<(usize, char)> = fragments
            .iter()
            .enumerate()
            .flat_map(|(number, text)| text.chars().map(move |char| (number, char)))
            .collect();
        let mut placed = VecDeque::from(vec![Vec::new(); fragments.len()]);
        let (mut start, mut end, mut second) = (0, 0, false);
        for (position, (number, char)) in flat.iter().enumerate() {
            // A second half stands where its first half does.
            if !std::mem::replace(&mut second, false) {
                let next = flat.get(position + 1).map(|(_, next)| *next);
                let both: String = [Some(*char), next].into_iter().flatten().collect();
                second = next.is_some() && joined(&both, false).chars().count() == 1;
                start = end;
                end += if second { 4 } else { joined(&char.to_string(), false).len() };
            }
            placed[*number].push((*char, start, end));
        }
        Self { edits, fragments: placed, written: 0 }
    }

    /// What the next fragment becomes, and whether an edit touches it.
    fn next_fragment(&mut self) -> (String, bool) {
        let chars = self.fragments.pop_front().expect("as many fragments as there were");
        let (mut out, mut touched) = (String::new(), false);
        for (char, start, end) in chars {
            while let Some((_, _, with)) = self.edits.get(self.written).filter(|(from, _, _)| *from <= start) {
                out.push_str(with);
                self.written += 1;
                touched = true;
            }
            let before = &self.edits[..self.written];
            if before.last().is_some_and(|(from, to, _)| from < to && *from <= start && end <= *to) {
                touched = true;
            } else {
                out.push(char);
            }
        }
        if self.fragments.is_empty() {
            let rest = self.rest();
            touched |= !rest.is_empty();
            out.push_str(&rest);
        }
        (out, touched)
    }

    fn rest(&mut self) -> String {
        let rest = self.edits[self.written..].iter().map(|(_, _, with)| with.as_str()).collect();
        self.written = self.edits.len();
        rest
    }
}
