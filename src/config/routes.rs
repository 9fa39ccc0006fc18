//! Which upstream a call is sent to.

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::settings::{Dialect, Upstream};

/// The upstreams' dialects and model globs, ready to be asked.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
}

/// Why an upstream was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It is the first that speaks the dialect and serves the model. Holds its index.
    ByModel(usize),
    /// None serves the model; it is the first that speaks the dialect. Holds its index.
    ByDialect(usize),
}

#[derive(Debug)]
struct Route {
    dialects: Vec<Dialect>,
    models: GlobSet,
}

impl Routes {
    /// The routes of these upstreams. Globs that are wrong, which the settings' checks exclude, match nothing.
    pub fn new(upstreams: &[Upstream]) -> Self {
        let route = |upstream: &Upstream| {
            let mut models = GlobSetBuilder::new();
            for glob in upstream.models.iter().filter_map(|glob| Glob::new(glob).ok()) {
                models.add(glob);
            }
            Route { dialects: upstream.dialects.clone(), models: models.build().unwrap_or_default() }
        };
        Self { routes: upstreams.iter().map(route).collect() }
    }

    /// The upstream for a call; nothing when none speaks the dialect.
    pub fn choose(&self, dialect: Dialect, model: &str) -> Option<Choice> {
        let speaks = |(_, route): &(usize, &Route)| route.dialects.contains(&dialect);
        let mut speaking = self.routes.iter().enumerate().filter(speaks);
        let by_model = speaking.clone().find(|(_, route)| route.models.is_match(model));
        let by_model = by_model.map(|(index, _)| Choice::ByModel(index));
        by_model.or_else(|| speaking.next().map(|(index, _)| Choice::ByDialect(index)))
    }
}

impl Choice {
    /// The index of the upstream in the settings.
    pub fn index(self) -> usize {
        match self {
            Self::ByModel(index) | Self::ByDialect(index) => index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::Document;

    #[test]
    fn the_first_that_fits_is_chosen() {
        let text = "\
- {name: a, url: demo, dialects: [openai_chat], models: ['gpt-*']}
- {name: b, url: demo, dialects: [openai_chat, openai_responses], models: ['*llama*', 'gpt-5']}
";
        let upstreams: Vec<Upstream> = Document::parse("t", text).expect("yaml").read_as("").expect("upstreams");
        let routes = Routes::new(&upstreams);
        for (dialect, model, choice) in [
            (Dialect::OpenaiChat, "gpt-5", Some(Choice::ByModel(0))),
            (Dialect::OpenaiResponses, "gpt-5", Some(Choice::ByModel(1))),
            (Dialect::OpenaiChat, "meta/llama-4", Some(Choice::ByModel(1))),
            (Dialect::OpenaiChat, "mistral", Some(Choice::ByDialect(0))),
            (Dialect::AnthropicMessages, "gpt-5", None),
        ] {
            assert_eq!(routes.choose(dialect, model), choice, "{dialect:?} {model}");
        }
    }
}
