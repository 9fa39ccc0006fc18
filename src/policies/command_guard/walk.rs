//! Goes through a script in the order in which it runs, and finds every command in it.

use std::{ops::Range, sync::Arc};

use brush_parser::ast::{
    AndOr, Command, CompoundCommand, CompoundList, ExtendedTestExpr, FunctionDefinition, Pipeline, RedirectList,
    SeparatorOperator, Word,
};

use super::{
    invocation::Invocation,
    parse::{self, Unreadable},
    pattern::HOME,
    scope::{Choices, Function, Scope, Stream, Value, merge},
    words::{Field, Mode},
};

/// The walk through one command of a tool call.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) scope: Scope,
    pub(super) choices: Choices,
    /// The texts of commands: that of the tool call, and those within it.
    pub(super) texts: Vec<Text>,
    /// Every command that was found.
    pub(super) found: Vec<Invocation>,
    /// The text that is walked through.
    pub(super) current: usize,
    /// In how many constructs it stands that may not run.
    branches: usize,
    depth: usize,
    /// What the walk has cost.
    spent: usize,
    /// The functions that are running.
    pub(super) running: Vec<String>,
    /// In a pipeline of several commands, or in the background.
    pub(super) is_piped: bool,
}

/// The text of a command.
#[derive(Debug)]
pub(super) struct Text {
    pub text: String,
    pub place: Place,
}

/// Where the text of a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the tool call.
    Top,
    /// As one word of another text, literally.
    Word(usize, Range<usize>),
    /// It is a list of words that the tool call holds.
    Words,
    /// Somewhere where it cannot be edited.
    Nowhere,
}

/// How deep shells may nest.
const SHELLS: usize = 24;
/// How many commands are looked at.
const COMMANDS: usize = 4000;
/// What a walk may cost: about one for each character that is read or made.
const COST: usize = 1 << 20;

/// Every command in a text, with the texts.
pub(super) fn walk(text: &str, directory: Option<&str>) -> Result<Walk, Unreadable> {
    let mut walk = Walk::starting(directory);
    walk.code(text.to_owned(), Place::Top, &Stream::default())?;
    Ok(walk)
}

/// Every command in a list of words that is run without a shell.
pub(super) fn walk_words(words: &[String], directory: Option<&str>) -> Result<Walk, Unreadable> {
    let mut walk = Walk::starting(directory);
    walk.texts.push(Text { text: String::new(), place: Place::Words });
    let field = |(number, word): (usize, &String)| Field {
        text: word.clone(),
        literal: true,
        // Each word is a text of its own, and its number stands for its place.
        span: Some(number..number + 1),
        ..Field::default()
    };
    let words: Vec<_> = words.iter().enumerate().map(field).collect();
    walk.invoke(&words, Invocation::default(), &Stream::default())?;
    Ok(walk)
}

impl Walk {
    fn starting(directory: Option<&str>) -> Self {
        let mut walk = Self::default();
        if let Some(directory) = directory {
            let home = directory.strip_prefix('~').map(|rest| format!("{HOME}{rest}"));
            walk.enter(home.as_deref().unwrap_or(directory));
        }
        walk
    }

    /// Runs a text as a script, in the scope as it is.
    pub(super) fn code(&mut self, text: String, place: Place, input: &Stream) -> Result<Stream, Unreadable> {
        self.nested(|walk| {
            walk.spend(text.len() + 64)?;
            let program = parse::parse(&text)?;
            walk.texts.push(Text { text, place });
            let outer = std::mem::replace(&mut walk.current, walk.texts.len() - 1);
            let choices = std::mem::take(&mut walk.choices);
            let mut output = Stream { text: Some(String::new()), from: Vec::new() };
            for list in &program.complete_commands {
                append(&mut output, walk.list(list, input)?);
            }
            walk.choices = choices;
            walk.current = outer;
            Ok(output)
        })
    }

    /// `$(…)`: a script in a scope of its own, and what it says.
    pub(super) fn output_of(&mut self, code: &str) -> Result<Value, Unreadable> {
        let output = self.apart(|walk| walk.code(code.to_owned(), Place::Nowhere, &Stream::default()))?;
        Ok(match output.text {
            Some(text) => Value { text: text.trim_end_matches('\n').to_owned(), from: output.from },
            None => Value { from: output.from, ..Value::unknown() },
        })
    }

    /// Runs in a copy of the scope. Files stay written.
    pub(super) fn apart<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Unreadable>) -> Result<T, Unreadable> {
        self.spend(16 + self.scope.size / 16)?;
        let outer = self.scope.clone();
        let done = run(self);
        let files = std::mem::take(&mut self.scope.files);
        self.scope = outer;
        self.scope.files = files;
        done
    }

    pub(super) fn nested<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Unreadable>) -> Result<T, Unreadable> {
        if self.depth >= SHELLS {
            return Err(Unreadable::Limit);
        }
        self.depth += 1;
        let done = run(self);
        self.depth -= 1;
        done
    }

    /// Counts what is read or made.
    pub(super) fn spend(&mut self, cost: usize) -> Result<(), Unreadable> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > COST { Err(Unreadable::Limit) } else { Ok(()) }
    }

    /// Whether what stands here runs for certain.
    pub(super) fn is_certain(&self) -> bool {
        self.branches == 0
    }

    /// A command that was found.
    pub(super) fn record(&mut self, mut invocation: Invocation) -> Result<usize, Unreadable> {
        if self.found.len() >= COMMANDS {
            return Err(Unreadable::Limit);
        }
        self.spend(invocation.words.iter().map(|word| 48 + word.text.len() + 16 * word.from.len()).sum())?;
        invocation.text = self.current;
        invocation.directory.clone_from(&self.scope.directory);
        self.found.push(invocation);
        Ok(self.found.len() - 1)
    }

    fn branch<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Unreadable>) -> Result<T, Unreadable> {
        self.branches += 1;
        let done = run(self);
        self.branches -= 1;
        done
    }

    fn list(&mut self, list: &CompoundList, input: &Stream) -> Result<Stream, Unreadable> {
        let mut output = Stream { text: Some(String::new()), from: Vec::new() };
        for item in &list.0 {
            let is_async = matches!(item.1, SeparatorOperator::Async);
            let piped = self.is_piped;
            self.is_piped |= is_async;
            append(&mut output, self.pipeline(&item.0.first, input)?);
            self.is_piped = piped;
            for next in &item.0.additional {
                let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = next;
                append(&mut output, self.branch(|walk| walk.pipeline(pipeline, input))?);
            }
        }
        Ok(output)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, input: &Stream) -> Result<Stream, Unreadable> {
        let [first, rest @ ..] = &pipeline.seq[..] else { return Ok(Stream::default()) };
        if rest.is_empty() {
            return self.command(first, input);
        }
        let outer = std::mem::replace(&mut self.is_piped, true);
        let mut output = self.apart(|walk| walk.command(first, input))?;
        for command in rest {
            output = self.apart(|walk| walk.command(command, &output))?;
        }
        self.is_piped = outer;
        Ok(output)
    }

    fn command(&mut self, command: &Command, input: &Stream) -> Result<Stream, Unreadable> {
        match command {
            Command::Simple(simple) => self.simple(simple, input),
            Command::Compound(compound, redirects) => {
                self.redirected(redirects.as_ref(), input, |walk, input| walk.compound(compound, input))
            }
            Command::Function(function) => self.define(function),
            Command::ExtendedTest(test, redirects) => self.redirected(redirects.as_ref(), input, |walk, _| {
                walk.test(&test.expr)?;
                Ok(Stream::default())
            }),
        }
    }

    /// Runs something with redirections of its own.
    fn redirected(
        &mut self,
        redirects: Option<&RedirectList>,
        input: &Stream,
        run: impl FnOnce(&mut Self, &Stream) -> Result<Stream, Unreadable>,
    ) -> Result<Stream, Unreadable> {
        let Some(redirects) = redirects else { return run(self, input) };
        let mut invocation = Invocation::default();
        let mut input = input.clone();
        let mut outputs = Vec::new();
        for redirect in &redirects.0 {
            self.redirect(redirect, &mut invocation, &mut input, &mut outputs)?;
        }
        let written = invocation.redirected_out.clone();
        self.record(invocation)?;
        let output = run(self, &input)?;
        self.write(&written, &output);
        for subshell in outputs {
            self.apart(|walk| walk.list(&subshell.list, &output))?;
        }
        Ok(output)
    }

    fn compound(&mut self, compound: &CompoundCommand, input: &Stream) -> Result<Stream, Unreadable> {
        match compound {
            CompoundCommand::BraceGroup(group) => self.list(&group.list, input),
            CompoundCommand::Subshell(subshell) => self.subshell(&subshell.list, input),
            CompoundCommand::Arithmetic(arithmetic) => {
                self.text(&arithmetic.expr.value, Mode::Double)?;
                // The parser takes `( (` for `((`.
                self.perhaps(&arithmetic.expr.value)?;
                Ok(Stream::default())
            }
            CompoundCommand::ArithmeticForClause(clause) => {
                for part in [&clause.initializer, &clause.condition, &clause.updater].into_iter().flatten() {
                    self.text(&part.value, Mode::Double)?;
                }
                self.branched([&clause.body.list], input)
            }
            CompoundCommand::ForClause(clause) => {
                let mut fields = Vec::new();
                for word in clause.values.iter().flatten() {
                    fields.extend(self.fields(&word.value, None)?);
                }
                if clause.values.is_none() {
                    fields.push(Field::of(self.special("@")));
                }
                self.assign_each(&clause.variable_name, &fields)?;
                self.branched([&clause.body.list], input)
            }
            CompoundCommand::CaseClause(clause) => {
                self.aside(&clause.value)?;
                for case in &clause.cases {
                    for pattern in &case.patterns {
                        self.aside(pattern)?;
                    }
                }
                self.branched(clause.cases.iter().filter_map(|case| case.cmd.as_ref()), input)
            }
            CompoundCommand::IfClause(clause) => {
                let mut output = self.list(&clause.condition, input)?;
                let elses = clause.elses.iter().flatten();
                let lists = elses.flat_map(|part| part.condition.iter().chain(std::iter::once(&part.body)));
                append(&mut output, self.branched(std::iter::once(&clause.then).chain(lists), input)?);
                Ok(output)
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.branched([&clause.0, &clause.1.list], input)
            }
            CompoundCommand::Coprocess(coprocess) => self.apart(|walk| walk.command(&coprocess.body, input)),
        }
    }

    pub(super) fn subshell(&mut self, list: &CompoundList, input: &Stream) -> Result<Stream, Unreadable> {
        self.apart(|walk| walk.list(list, input))
    }

    /// Lists that may run, or run more than once. What they say together is not known.
    fn branched<'a>(
        &mut self,
        lists: impl IntoIterator<Item = &'a CompoundList>,
        input: &Stream,
    ) -> Result<Stream, Unreadable> {
        self.branch(|walk| {
            let mut output = Stream::default();
            for list in lists {
                let part = walk.list(list, input)?;
                merge(&mut output.from, &part.from);
            }
            Ok(output)
        })
    }

    fn assign_each(&mut self, name: &str, fields: &[Field]) -> Result<(), Unreadable> {
        let is_number = |field: &Field| field.text.parse::<u64>().is_ok();
        if fields.len() > 4 && fields.iter().all(is_number) {
            return self.scope.assign(name, Value::unknown(), self.is_certain());
        }
        for (number, field) in fields.iter().enumerate() {
            self.scope.assign(name, field.value(), number == 0 && self.is_certain())?;
        }
        Ok(())
    }

    /// A function is looked at where it is defined, whoever calls it, and again with the arguments of each call.
    fn define(&mut self, function: &FunctionDefinition) -> Result<Stream, Unreadable> {
        let name = &function.fname.value;
        let entry = Function { body: Arc::new(function.body.clone()), text: self.current };
        self.scope.functions.insert(name.clone(), entry.clone());
        self.apart(|walk| walk.branch(|walk| walk.call(name, &entry, vec![Value::unknown(); 9], &Stream::default())))?;
        Ok(Stream { text: Some(String::new()), from: Vec::new() })
    }

    /// Runs the body of a function.
    pub(super) fn call(
        &mut self,
        name: &str,
        function: &Function,
        arguments: Vec<Value>,
        input: &Stream,
    ) -> Result<Stream, Unreadable> {
        self.nested(|walk| {
            let positional = walk.scope.positional.replace(arguments);
            let text = std::mem::replace(&mut walk.current, function.text);
            let piped = std::mem::take(&mut walk.is_piped);
            walk.running.push(name.to_owned());
            let body = &function.body;
            let output = walk.redirected(body.1.as_ref(), input, |walk, input| walk.compound(&body.0, input));
            walk.running.pop();
            walk.is_piped = piped;
            walk.current = text;
            walk.scope.positional = positional;
            output
        })
    }

    fn test(&mut self, test: &ExtendedTestExpr) -> Result<(), Unreadable> {
        match test {
            ExtendedTestExpr::And(left, right) | ExtendedTestExpr::Or(left, right) => {
                self.test(left)?;
                self.test(right)
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => self.test(inner),
            ExtendedTestExpr::UnaryTest(_, word) => self.aside(word),
            ExtendedTestExpr::BinaryTest(_, left, right) => {
                self.aside(left)?;
                self.aside(right)
            }
        }
    }

    /// Looks into a word that is no part of a command.
    fn aside(&mut self, word: &Word) -> Result<(), Unreadable> {
        self.text(&word.value, Mode::Word).map(|_| ())
    }
}

/// Adds what the next command says.
fn append(output: &mut Stream, next: Stream) {
    merge(&mut output.from, &next.from);
    output.text = match (output.text.take(), next.text) {
        (Some(mut text), Some(next)) => {
            text.push_str(&next);
            Some(text)
        }
        _ => None,
    };
}
