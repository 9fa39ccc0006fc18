//! Running a list of words: what it runs in turn, and what it does to the scope.

use super::{
    invocation::{Invocation, program},
    output::said,
    parse::Unreadable,
    paths::{normal, written},
    pattern::{HOME, UNKNOWN},
    scope::{Stream, Value, merge},
    walk::{Place, Walk},
    words::Field,
    wrappers::{Inner, Split, inner},
};

/// Variables whose value other programs run.
const CODE: [&str; 13] = [
    "PROMPT_COMMAND",
    "GIT_SSH_COMMAND",
    "GIT_PAGER",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_EXTERNAL_DIFF",
    "GIT_PROXY_COMMAND",
    "PAGER",
    "MANPAGER",
    "EDITOR",
    "VISUAL",
    "BROWSER",
    "LESSOPEN",
];

/// The name that stands for a function that starts itself twice.
pub(super) const FORK_BOMB: &str = "fork-bomb";

/// Whether a command only takes the line ends of Windows out, which hides nothing.
fn is_plain_filter(found: &Invocation) -> bool {
    found.program() == "tr" && matches!(found.arguments(), [flag, set] if flag.text == "-d" && set.text == "\\r")
}

impl Walk {
    /// A variable is assigned by a command line.
    pub(super) fn set(&mut self, name: &str, value: Value, is_certain: bool) -> Result<(), Unreadable> {
        if CODE.contains(&name) {
            self.perhaps(&value.text)?;
        }
        self.scope.assign(name, value, is_certain)
    }

    /// Runs words as a command.
    pub(super) fn invoke(
        &mut self,
        words: &[Field],
        invocation: Invocation,
        input: &Stream,
    ) -> Result<Stream, Unreadable> {
        self.nested(|walk| {
            let Some(first) = words.first() else {
                if !(invocation.redirected_out.is_empty() && invocation.redirected_in.is_empty()) {
                    walk.record(invocation)?;
                }
                return Ok(Stream { text: Some(String::new()), from: Vec::new() });
            };
            if let Some(function) = walk.scope.functions.get(&first.text).cloned() {
                if !walk.running.contains(&first.text) {
                    let arguments = words.iter().skip(1).map(Field::value).collect();
                    let output = walk.call(&first.text, &function, arguments, input)?;
                    // It may not be defined after all.
                    walk.apart(|walk| walk.program(words, invocation, input))?;
                    return Ok(output);
                }
                if walk.is_piped {
                    let bomb = Field::of(Value::of(FORK_BOMB));
                    walk.record(Invocation { words: vec![bomb], ..Invocation::default() })?;
                }
                return Ok(Stream::default());
            }
            walk.program(words, invocation, input)
        })
    }

    /// Runs words as a program.
    fn program(&mut self, words: &[Field], mut invocation: Invocation, input: &Stream) -> Result<Stream, Unreadable> {
        invocation.piped_from.clone_from(&input.from);
        for word in words {
            merge(&mut invocation.piped_from, &word.from);
        }
        invocation.words = words.to_vec();
        match words.first() {
            None => Ok(Stream::default()),
            Some(first) if first.is_unknown() => self.unknown(words, invocation, input),
            Some(_) => self.known(words, invocation, input),
        }
    }

    /// Goes to a directory.
    pub(super) fn enter(&mut self, target: &str) {
        let next = normal(target, self.scope.directory.as_deref());
        let is_known = !next.contains(UNKNOWN) && target != "-";
        let is_placed = next.starts_with(['/', HOME]);
        self.scope.directory = (is_known && is_placed).then_some(next);
    }

    /// A program that only the shell knows.
    fn unknown(&mut self, words: &[Field], mut invocation: Invocation, input: &Stream) -> Result<Stream, Unreadable> {
        let Some(first) = words.first() else { return Ok(Stream::default()) };
        invocation.runs_from.clone_from(&first.from);
        invocation.unknown_code = first.injected && first.from.is_empty();
        self.record(invocation)?;
        // It may be empty, and then the next word is the program.
        let rest: Vec<_> = words.iter().skip(1).cloned().collect();
        if !first.literal && !rest.is_empty() {
            self.invoke(&rest, Invocation::default(), input)?;
        }
        let mut from = input.from.clone();
        merge(&mut from, &first.from);
        Ok(Stream { text: None, from })
    }

    fn known(&mut self, words: &[Field], invocation: Invocation, input: &Stream) -> Result<Stream, Unreadable> {
        let first_found = self.found.len();
        let number = self.record(invocation)?;
        let text = said(self, words, input);
        let inner = inner(words);
        if let (Inner::Words(inner) | Inner::Fed(inner, ..), Some(found)) = (&inner, self.found.get_mut(number)) {
            found.own = Some(words.len().saturating_sub(inner.len()).max(1));
        }
        let inner_said = self.run(number, inner, input)?;
        self.called_file(number, words, input)?;
        self.builtin(words, input)?;
        let mut from = input.from.clone();
        for found in self.found.iter().skip(first_found) {
            if !is_plain_filter(found) {
                from.push(found.program());
            }
            for word in &found.words {
                from.extend_from_slice(&word.from);
            }
        }
        let mut names = Vec::new();
        merge(&mut names, &from);
        let output = Stream { text: text.or(inner_said.and_then(|said| said.text)), from: names };
        self.written_files(words, input, &output);
        Ok(output)
    }

    /// Runs what a command runs.
    fn run(&mut self, number: usize, inner: Inner, input: &Stream) -> Result<Option<Stream>, Unreadable> {
        match inner {
            Inner::Nothing => Ok(None),
            Inner::All(all) => {
                for inner in all {
                    self.run(number, inner, input)?;
                }
                Ok(None)
            }
            // These run programs, never functions.
            Inner::Words(words) => self.nested(|walk| walk.program(&words, Invocation::default(), input)).map(Some),
            Inner::In(directory, inner) => self.apart(|walk| {
                walk.enter(&directory);
                walk.run(number, *inner, input)
            }),
            Inner::Perhaps(code) => self.perhaps(&code).map(|()| None),
            Inner::Fed(mut words, place, split) => {
                // What `xargs` reads becomes arguments.
                let mut read: Vec<Value> = match &input.text {
                    Some(text) if split == Split::Lines => text.split(['\n', '\0']).map(Value::of).collect(),
                    Some(text) => text.split_whitespace().map(Value::of).collect(),
                    None => vec![Value { from: input.from.clone(), ..Value::unknown() }],
                };
                read.retain(|value| !value.text.is_empty());
                match place.filter(|place| words.iter().any(|word| word.text.contains(place.as_str()))) {
                    Some(place) => {
                        let all = read.iter().map(|value| value.text.as_str()).collect::<Vec<_>>().join(" ");
                        for word in words.iter_mut().filter(|word| word.text.contains(&place)) {
                            word.text = word.text.replace(&place, &all);
                            word.injected = word.text.contains(UNKNOWN);
                            (word.literal, word.span) = (false, None);
                            merge(&mut word.from, &input.from);
                        }
                    }
                    None => words.extend(read.into_iter().map(Field::of)),
                }
                self.nested(|walk| walk.program(&words, Invocation::default(), &Stream::default())).map(Some)
            }
            Inner::Code { code, arguments, is_here } => {
                self.run_code(number, &code, arguments, is_here, input).map(Some)
            }
            Inner::Input => {
                let Some(text) = input.text.clone() else { return self.run(number, Inner::Data, input) };
                let code = Field { text, from: input.from.clone(), ..Field::default() };
                self.run_code(number, &code, None, false, &Stream::default()).map(Some)
            }
            Inner::Data => {
                self.runs(number, &input.from);
                Ok(None)
            }
            Inner::File { path, is_here, is_shell } => {
                let file = self.file(&path.text);
                self.runs(number, &path.from);
                if let Some(file) = &file {
                    self.runs(number, &file.from);
                }
                match file.and_then(|file| file.text).filter(|_| is_shell) {
                    Some(text) => self.run_code(number, &Field::of(Value::of(text)), None, is_here, input).map(Some),
                    None => Ok(None),
                }
            }
        }
    }

    /// Runs a word as a script.
    fn run_code(
        &mut self,
        number: usize,
        code: &Field,
        arguments: Option<Vec<Value>>,
        is_here: bool,
        input: &Stream,
    ) -> Result<Stream, Unreadable> {
        if code.is_unknown() {
            self.runs(number, &code.from);
            if let Some(found) = self.found.get_mut(number).filter(|_| code.from.is_empty()) {
                found.unknown_code = true;
            }
            return Ok(Stream { text: None, from: code.from.clone() });
        }
        let place = match &code.span {
            Some(span) if code.literal => Place::Word(self.current, span.clone()),
            _ => Place::Nowhere,
        };
        let first = self.found.len();
        let text = code.text.clone();
        let output = if is_here {
            self.code(text, place, input)
        } else {
            self.apart(|walk| {
                let mut arguments = arguments.unwrap_or_default().into_iter();
                if let Some(name) = arguments.next() {
                    walk.scope.assign("0", name, true)?;
                }
                walk.scope.positional = Some(arguments.collect());
                walk.code(text, place, input)
            })
        }?;
        // A program that came into the code from outside came from these.
        let has_unknown = self.found.iter().skip(first).any(|found| found.unknown_code);
        if has_unknown && !code.from.is_empty() {
            self.runs(number, &code.from);
        }
        Ok(output)
    }

    fn runs(&mut self, number: usize, from: &[String]) {
        if let Some(found) = self.found.get_mut(number) {
            merge(&mut found.runs_from, from);
        }
    }

    /// A script that was written before and is run by its name.
    fn called_file(&mut self, number: usize, words: &[Field], input: &Stream) -> Result<(), Unreadable> {
        let Some(first) = words.first().filter(|first| first.text.contains('/')) else { return Ok(()) };
        let Some(file) = self.file(&first.text) else { return Ok(()) };
        self.runs(number, &file.from);
        let is_shell = |text: &String| {
            !text.starts_with("#!") || text.lines().next().is_some_and(|line| line.trim_end().ends_with("sh"))
        };
        if let Some(text) = file.text.filter(is_shell) {
            let arguments = words.iter().map(Field::value).collect();
            self.run_code(number, &Field::of(Value::of(text)), Some(arguments), false, input)?;
        }
        Ok(())
    }

    /// What a builtin does to the scope.
    fn builtin(&mut self, words: &[Field], input: &Stream) -> Result<(), Unreadable> {
        let Some(first) = words.first() else { return Ok(()) };
        let operands = words.iter().skip(1).filter(|word| !word.text.starts_with('-') || word.text == "-");
        match &*program(&first.text) {
            "cd" | "pushd" | "chdir" => {
                let home = HOME.to_string();
                let target = operands.map(|word| word.text.as_str()).next().unwrap_or(&home);
                let target = target.to_owned();
                self.enter(&target);
            }
            "popd" => self.scope.directory = None,
            "export" | "declare" | "typeset" | "local" | "readonly" | "alias" => {
                for word in operands {
                    if let Some((name, value)) = word.text.split_once('=') {
                        let value = Value { text: value.to_owned(), from: word.from.clone() };
                        let certain = self.is_certain();
                        self.set(name, value, certain)?;
                    }
                }
            }
            "read" | "mapfile" | "readarray" => {
                let from = input.from.clone();
                let value = match &input.text {
                    Some(text) => Value { text: text.trim_end_matches('\n').to_owned(), from },
                    None => Value { from, ..Value::unknown() },
                };
                let names: Vec<String> = operands.map(|word| word.text.clone()).collect();
                let default = ["REPLY".to_owned(), "MAPFILE".to_owned()];
                for name in if names.is_empty() { &default[..] } else { &names[..] } {
                    self.scope.assign(name, value.clone(), true)?;
                }
            }
            "set" => {
                let behind = words.iter().position(|word| word.text == "--").map_or(1, |at| at + 1);
                let values: Vec<_> = words.iter().skip(behind).map(Field::value).collect();
                if values.first().is_some_and(|value| behind > 1 || !value.text.starts_with(['-', '+'])) {
                    self.scope.positional = Some(values);
                }
            }
            "printf" => {
                if let [_, flag, name, rest @ ..] = words
                    && flag.text == "-v"
                {
                    let value = super::output::printf(rest).map_or_else(Value::unknown, Value::of);
                    self.scope.assign(&name.text, value, true)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Remembers what a command puts into files.
    fn written_files(&mut self, words: &[Field], input: &Stream, output: &Stream) {
        let Some(first) = words.first() else { return };
        let name = program(&first.text);
        let paths = written(&name, words.get(1..).unwrap_or_default());
        let content = match &*name {
            "tee" => input.clone(),
            "cp" | "mv" | "ln" | "install" => {
                let sources = words.iter().skip(1).filter_map(|word| self.file(&word.text));
                let Some(content) = sources.into_iter().next() else { return };
                content
            }
            "chmod" | "chown" | "touch" | "mkdir" | "rm" => return,
            _ => Stream { text: None, from: output.from.clone() },
        };
        self.write(&paths, &content);
    }
}
