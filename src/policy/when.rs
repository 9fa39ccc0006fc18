//! The expression `match.when`: [CEL](https://cel.dev) over what is known of a call.
//!
//! Nothing else knows the library. An expression is bounded when it is compiled, in length, depth and loops, because its
//! evaluation is not interrupted. What cannot be evaluated is told as a sentence, never by a panic.

mod shape;
mod trial;

use std::{
    any::Any,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
    thread,
};

use cel::{Context, Env, ParseErrors, Program, Value};

use self::shape::Shape;
use super::CallFacts;

/// The longest expression, in bytes.
const LONGEST: usize = 4096;

/// The stack on which expressions are compiled. The parser descends once for each operator of a chain, and how many there
/// are is known only when it is through.
const STACK: usize = 64 << 20;

/// What `call` has.
const FIELDS: [&str; 9] = ["id", "dialect", "path", "model", "upstream", "client", "session", "stream", "headers"];

/// What differs between the call that has an answer made and one that fetches it later.
const OF_THE_MAKER: [&str; 4] = ["id", "model", "path", "stream"];

/// A compiled expression.
#[derive(Debug)]
pub struct When {
    source: String,
    program: Program,
    /// It looks at something that is known only where the answer is made.
    is_of_the_maker: bool,
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WhenError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// What an expression says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// The policy runs.
    True,
    /// It does not.
    False,
    /// The call names no model, and the expression cannot be asked. The policy runs.
    Unasked,
    /// It has no value, for this reason.
    Fails(String),
}

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

impl When {
    /// Compiles an expression, and tries it on calls made for the purpose.
    pub fn compile(source: &str) -> Result<Self, WhenError> {
        if source.len() > LONGEST {
            return Err(wrong(
                format!("the expression is longer than {LONGEST} bytes"),
                "write less, or split the policy into two entries",
            ));
        }
        let compiled = thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || Self::compile_here(source));
            thread.ok().and_then(|thread| thread.join().ok())
        });
        compiled.unwrap_or_else(|| Err(wrong("the expression cannot be compiled", "write it in another way")))
    }

    fn compile_here(source: &str) -> Result<Self, WhenError> {
        let program = ENVIRONMENT.compile(source).map_err(|errors| unparsable(&errors))?;
        let shape = Shape::of(program.expression())?;
        trial::run(program.expression(), &shape)?;
        let is_of_the_maker = shape.takes_the_whole || OF_THE_MAKER.iter().any(|field| shape.fields.contains(field));
        Ok(Self { source: source.to_owned(), program, is_of_the_maker })
    }

    /// The expression as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it says of a call.
    ///
    /// Who fetches an answer that the provider kept names no model. An expression about the call that had it made counts
    /// as true there, so that nobody gets around a policy in this way.
    pub fn fit(&self, facts: &CallFacts<'_>) -> Fit {
        if facts.model.is_empty() && self.is_of_the_maker {
            return Fit::Unasked;
        }
        match catch_unwind(AssertUnwindSafe(|| self.program.execute(&context(facts)))) {
            Ok(Ok(Value::Bool(true))) => Fit::True,
            Ok(Ok(Value::Bool(false))) => Fit::False,
            Ok(Ok(other)) => Fit::Fails(format!("it is of type {}, not true or false", other.type_of())),
            Ok(Err(error)) => Fit::Fails(shortened(&error.to_string())),
            Err(panic) => Fit::Fails(format!("the evaluation panicked: {}", shortened(told(&*panic)))),
        }
    }
}

/// The variable `call`.
fn context(facts: &CallFacts<'_>) -> Context<'static, 'static> {
    let mut headers: HashMap<String, String> = HashMap::new();
    for (name, value) in facts.headers {
        let all = headers.entry(name.clone()).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(value);
    }
    let call: HashMap<&str, Value> = HashMap::from([
        ("id", facts.id.into()),
        ("dialect", facts.dialect.into()),
        ("path", without_query(facts.path).into()),
        ("model", facts.model.into()),
        ("upstream", facts.upstream.into()),
        ("client", facts.client.into()),
        ("session", facts.session.into()),
        ("stream", Value::Bool(facts.stream)),
        ("headers", headers.into()),
    ]);
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.add_variable_from_value("call", call);
    context
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn unparsable(errors: &ParseErrors) -> WhenError {
    let remedy = "correct it; texts stand in quotes, as `call.model == \"gpt-5\"`";
    let Some(error) = errors.errors.first() else { return wrong("this is not a CEL expression", remedy) };
    if error.msg.contains("Recursion limit") {
        return shape::too_deep();
    }
    // The rest lists every token that could stand there.
    let what = error.msg.split(" expecting ").next().unwrap_or_default();
    let what = what.trim_start_matches("Syntax error: ");
    let place =
        if error.pos.0 > 0 { format!(" (line {}, column {})", error.pos.0, error.pos.1) } else { String::new() };
    wrong(format!("this is not a CEL expression: {}{place}", shortened(what)), remedy)
}

fn wrong(message: impl Into<String>, remedy: impl Into<String>) -> WhenError {
    WhenError { message: message.into(), remedy: remedy.into() }
}

/// One line, and not a long one: errors quote values, which are as long as clients make them.
fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn told(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests;
