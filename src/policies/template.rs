//! Texts with places for values, as operators write them.

use minijinja::{Environment, UndefinedBehavior};

use crate::policy::{Halt, fault};

use super::Problem;

/// A template that was read.
pub(super) struct Template(Environment<'static>);

/// The only template of its environment.
const NAME: &str = "text";

impl Template {
    /// Reads a template. `pointer` is where it stands, `known` are the names that it may use.
    pub(super) fn new(pointer: &str, source: String, known: &[&str]) -> Result<Self, Problem> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(10_000));
        let listed = || known.iter().map(|name| format!("`{{{{ {name} }}}}`")).collect::<Vec<_>>().join(", ");
        environment.add_template_owned(NAME, source).map_err(|error| {
            let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            Problem::new(pointer, format!("this is no template: {why}"), format!("write text with {}", listed()))
        })?;
        let used = environment.get_template(NAME).map(|template| template.undeclared_variables(false));
        if let Some(unknown) = used.unwrap_or_default().into_iter().find(|used| !known.contains(&used.as_str())) {
            let message = format!("nothing is called `{unknown}` here");
            return Err(Problem::new(pointer, message, format!("use {}", listed())));
        }
        Ok(Self(environment))
    }

    /// The text with these values.
    pub(super) fn render(&self, values: minijinja::Value) -> Result<String, Halt> {
        let rendered = self.0.get_template(NAME).and_then(|template| template.render(values));
        rendered.map_err(|error| fault(format!("the message cannot be written: {error}")))
    }
}
