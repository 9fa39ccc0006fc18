//! Simple commands: assignments, words and redirections.

use std::ops::Range;

use brush_parser::{
    SourceSpan,
    ast::{
        Assignment, AssignmentName, AssignmentValue, CommandPrefixOrSuffixItem, IoFileRedirectKind,
        IoFileRedirectTarget, IoHereDocument, IoRedirect, ProcessSubstitutionKind, SimpleCommand, SubshellCommand,
        Word,
    },
};

use super::{
    invocation::Invocation,
    parse::Unreadable,
    paths::normal,
    pattern::UNKNOWN,
    scope::{Stream, Value, merge},
    walk::Walk,
    words::{Field, Mode},
};

/// How many combinations of values of variables are tried for one command.
const ROUNDS: usize = 128;

impl Walk {
    pub(super) fn simple(&mut self, command: &SimpleCommand, input: &Stream) -> Result<Stream, Unreadable> {
        let outer = std::mem::take(&mut self.choices);
        let mut output = self.simple_once(command, input, true)?;
        let mut rounds = 1;
        while self.choices.advance() {
            if rounds >= ROUNDS {
                return Err(Unreadable::Limit);
            }
            rounds += 1;
            let other = self.simple_once(command, input, false)?;
            merge(&mut output.from, &other.from);
        }
        self.choices = outer;
        Ok(output)
    }

    fn simple_once(&mut self, command: &SimpleCommand, input: &Stream, first: bool) -> Result<Stream, Unreadable> {
        let mut invocation = Invocation::default();
        let mut input = input.clone();
        let mut outputs = Vec::new();
        let mut words = Vec::new();
        let mut assigned = Vec::new();
        let prefix = command.prefix.iter().flat_map(|prefix| &prefix.0);
        let suffix = command.suffix.iter().flat_map(|suffix| &suffix.0);
        for item in prefix {
            match item {
                CommandPrefixOrSuffixItem::AssignmentWord(assignment, _) => assigned.push(self.assignment(assignment)?),
                CommandPrefixOrSuffixItem::IoRedirect(_)
                | CommandPrefixOrSuffixItem::Word(_)
                | CommandPrefixOrSuffixItem::ProcessSubstitution(..) => {
                    self.item(item, &mut words, &mut invocation, &mut input, &mut outputs)?;
                }
            }
            if let (None, Some((name, value))) = (&command.word_or_name, assigned.last()) {
                self.set(name, value.clone(), first && self.is_certain())?;
            }
        }
        if let Some(word) = &command.word_or_name {
            words.extend(self.fields(&word.value, self.span(word))?);
        }
        for item in suffix {
            self.item(item, &mut words, &mut invocation, &mut input, &mut outputs)?;
        }
        let written = invocation.redirected_out.clone();
        let is_command = command.word_or_name.is_some();
        let names = assigned.iter().filter(|_| is_command);
        let before: Vec<_> = names.map(|(name, _)| (name.clone(), self.scope.values(name))).collect();
        for (name, value) in assigned.into_iter().filter(|_| is_command) {
            self.set(&name, value, true)?;
        }
        let output = self.invoke(&words, invocation, &input)?;
        for (name, values) in before {
            self.scope.restore(&name, values);
        }
        self.write(&written, &output);
        for subshell in outputs {
            self.subshell(&subshell.list, &output)?;
        }
        Ok(output)
    }

    fn item<'a>(
        &mut self,
        item: &'a CommandPrefixOrSuffixItem,
        words: &mut Vec<Field>,
        invocation: &mut Invocation,
        input: &mut Stream,
        outputs: &mut Vec<&'a SubshellCommand>,
    ) -> Result<(), Unreadable> {
        match item {
            CommandPrefixOrSuffixItem::IoRedirect(redirect) => self.redirect(redirect, invocation, input, outputs)?,
            CommandPrefixOrSuffixItem::Word(word) | CommandPrefixOrSuffixItem::AssignmentWord(_, word) => {
                words.extend(self.fields(&word.value, self.span(word))?);
            }
            CommandPrefixOrSuffixItem::ProcessSubstitution(kind, subshell) => {
                let value = self.process(kind, subshell, outputs)?;
                words.push(Field::of(value));
            }
        }
        Ok(())
    }

    /// `<(…)` and `>(…)`: the name of a file that nobody knows.
    fn process<'a>(
        &mut self,
        kind: &ProcessSubstitutionKind,
        subshell: &'a SubshellCommand,
        outputs: &mut Vec<&'a SubshellCommand>,
    ) -> Result<Value, Unreadable> {
        match kind {
            ProcessSubstitutionKind::Read => {
                let output = self.subshell(&subshell.list, &Stream::default())?;
                let path = format!("/dev/fd/{UNKNOWN}{}", self.scope.files.len());
                self.scope.files.insert(path.clone(), output.clone());
                Ok(Value { text: path, from: output.from })
            }
            ProcessSubstitutionKind::Write => {
                outputs.push(subshell);
                Ok(Value::of(format!("/dev/fd/{UNKNOWN}")))
            }
        }
    }

    fn assignment(&mut self, assignment: &Assignment) -> Result<(String, Value), Unreadable> {
        let mut value = match &assignment.value {
            AssignmentValue::Scalar(word) => self.text(&word.value, Mode::Word)?,
            AssignmentValue::Array(items) => {
                let mut all = Value::default();
                for (index, item) in items {
                    if let Some(index) = index {
                        self.text(&index.value, Mode::Double)?;
                    }
                    for field in self.fields(&item.value, None)? {
                        if !all.text.is_empty() {
                            all.text.push(' ');
                        }
                        all.push(&field.value());
                    }
                }
                all
            }
        };
        let name = match &assignment.name {
            AssignmentName::VariableName(name) => name.clone(),
            AssignmentName::ArrayElementName(name, index) => {
                self.text(index, Mode::Double)?;
                name.clone()
            }
        };
        if assignment.append {
            let mut longer = self.pick(&name).unwrap_or_default();
            if matches!(assignment.value, AssignmentValue::Array(_)) && !longer.text.is_empty() {
                longer.text.push(' ');
            }
            longer.push(&value);
            value = longer;
        }
        Ok((name, value))
    }

    /// What a redirection reads and writes.
    pub(super) fn redirect<'a>(
        &mut self,
        redirect: &'a IoRedirect,
        invocation: &mut Invocation,
        input: &mut Stream,
        outputs: &mut Vec<&'a SubshellCommand>,
    ) -> Result<(), Unreadable> {
        match redirect {
            IoRedirect::HereDocument(_, document) => {
                let value = self.document(document)?;
                *input = Stream { text: Some(value.text), from: value.from };
            }
            IoRedirect::HereString(_, word) => {
                let mut value = self.text(&word.value, Mode::Word)?;
                value.text.push('\n');
                *input = Stream { text: Some(value.text), from: value.from };
            }
            IoRedirect::OutputAndError(word, _) => {
                let path = self.target(word)?.text;
                invocation.redirected_out.push(path);
            }
            IoRedirect::File(_, kind, target) => {
                let reads = matches!(
                    kind,
                    IoFileRedirectKind::Read | IoFileRedirectKind::ReadAndWrite | IoFileRedirectKind::DuplicateInput
                );
                let writes = !matches!(kind, IoFileRedirectKind::Read | IoFileRedirectKind::DuplicateInput);
                let path = match target {
                    IoFileRedirectTarget::Fd(_) => return Ok(()),
                    IoFileRedirectTarget::Filename(word) => self.target(word)?,
                    IoFileRedirectTarget::Duplicate(word) => {
                        let value = self.target(word)?;
                        if value.text.trim_end_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
                            return Ok(());
                        }
                        value
                    }
                    IoFileRedirectTarget::ProcessSubstitution(kind, subshell) => {
                        self.process(kind, subshell, outputs)?
                    }
                };
                if reads {
                    *input = self.file(&path.text).unwrap_or(Stream { text: None, from: path.from.clone() });
                    invocation.redirected_in.push(path.text.clone());
                }
                if writes {
                    invocation.redirected_out.push(path.text);
                }
            }
        }
        Ok(())
    }

    /// The file of a redirection.
    fn target(&mut self, word: &Word) -> Result<Value, Unreadable> {
        let fields = self.fields(&word.value, None)?;
        Ok(fields.first().map(Field::value).unwrap_or_default())
    }

    fn document(&mut self, document: &IoHereDocument) -> Result<Value, Unreadable> {
        let mut text = document.doc.value.clone();
        if document.remove_tabs {
            text = text.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect();
        }
        if document.requires_expansion { self.text(&text, Mode::Double) } else { Ok(Value::of(text)) }
    }

    /// A file that the script has written.
    pub(super) fn file(&self, path: &str) -> Option<Stream> {
        self.scope.files.get(&normal(path, self.scope.directory.as_deref())).cloned()
    }

    /// Files get what a command says.
    pub(super) fn write(&mut self, paths: &[String], content: &Stream) {
        for path in paths {
            let path = normal(path, self.scope.directory.as_deref());
            self.scope.files.insert(path, content.clone());
        }
    }

    /// Where a word stands, if the text there says it.
    fn span(&self, word: &Word) -> Option<Range<usize>> {
        let text = &self.texts.get(self.current)?.text;
        let SourceSpan { start, end } = word.loc.as_ref()?;
        let byte = |index: usize| {
            if text.is_ascii() { Some(index) } else { text.char_indices().map(|(at, _)| at).nth(index) }
        };
        let end = byte(end.index).unwrap_or(text.len());
        let written = text.get(byte(start.index)?..end)?;
        written.ends_with(&word.value).then(|| end - word.value.len()..end)
    }
}
