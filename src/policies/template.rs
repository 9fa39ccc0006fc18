//! Texts with places for values, as operators write them.

use minijinja::{Environment, UndefinedBehavior};

use super::Problem;

/// A template that was read.
pub(super) struct Template(Environment<'static>);

/// The only template of its environment.
const NAME: &str = "text";

impl Template {
    /// Reads a template. `pointer` is where it stands, `sample` has a value for each name that it may use.
    pub(super) fn new(pointer: &str, source: String, sample: &minijinja::Value) -> Result<Self, Problem> {
        let known: Vec<String> = sample.try_iter().into_iter().flatten().map(|name| name.to_string()).collect();
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(10_000));
        let listed = || known.iter().map(|name| format!("`{{{{ {name} }}}}`")).collect::<Vec<_>>().join(", ");
        let wrong = |error: minijinja::Error| {
            let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            Problem::new(pointer, format!("this is no template: {why}"), format!("write text with {}", listed()))
        };
        environment.add_template_owned(NAME, source).map_err(wrong)?;
        let used = environment.get_template(NAME).map(|template| template.undeclared_variables(false));
        if let Some(unknown) = used.unwrap_or_default().into_iter().find(|used| !known.contains(used)) {
            let message = format!("nothing is called `{unknown}` here");
            return Err(Problem::new(pointer, message, format!("use {}", listed())));
        }
        let template = Self(environment);
        template.render(sample.clone()).map_err(wrong)?;
        Ok(template)
    }

    /// The text with these values.
    pub(super) fn render(&self, values: minijinja::Value) -> Result<String, minijinja::Error> {
        self.0.get_template(NAME)?.render(values)
    }
}
