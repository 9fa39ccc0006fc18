//! Which upstream a call is sent to, and in which dialect.

use std::collections::HashMap;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::settings::{Dialect, Upstream};

/// The upstreams' dialects and models, ready to be asked.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
}

/// The upstream for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its index.
    pub upstream: usize,
    /// The dialect in which it is spoken to: the client's, if it speaks that, otherwise the first of its own.
    pub dialect: Dialect,
    /// Why it was chosen.
    pub why: Why,
}

/// Why an upstream was chosen. An earlier reason is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is the first that has the model among its aliases.
    Alias,
    /// It is the first that speaks the dialect and serves the model.
    Model,
    /// None that speaks the dialect serves the model; it is the first that names it. A glob that fits every model names
    /// none: it shall not draw calls to a vendor that nobody chose for them.
    OtherDialect,
    /// None serves the model; it is the first that speaks the dialect.
    Dialect,
    /// None speaks the dialect, and none serves the model; it is the first.
    First,
}

#[derive(Debug)]
struct Route {
    dialects: Vec<Dialect>,
    models: GlobSet,
    /// The globs that do not fit every model.
    named: GlobSet,
    aliases: HashMap<String, String>,
    /// It serves every model.
    all: bool,
}

impl Routes {
    /// The routes of these upstreams. Globs that are wrong, which the settings' checks exclude, match nothing.
    pub fn new(upstreams: &[Upstream]) -> Self {
        let route = |upstream: &Upstream| {
            let set = |of: &dyn Fn(&str) -> bool| {
                let mut set = GlobSetBuilder::new();
                for glob in upstream.models.iter().filter(|glob| of(glob)).filter_map(|glob| Glob::new(glob).ok()) {
                    set.add(glob);
                }
                set.build().unwrap_or_default()
            };
            let (models, named) = (set(&|_| true), set(&|glob| !glob.chars().all(|char| char == '*')));
            let aliases = upstream.aliases.iter().map(|(from, to)| (from.clone(), to.clone())).collect();
            let all = upstream.models.iter().any(|glob| glob == "*");
            Route { dialects: upstream.dialects.clone(), models, named, aliases, all }
        };
        Self { routes: upstreams.iter().map(route).collect() }
    }

    /// The upstream for a call; nothing only when there is none at all.
    pub fn choose(&self, dialect: Dialect, model: &str) -> Option<Choice> {
        let speaks = |route: &Route| route.dialects.contains(&dialect);
        let first = |fits: &dyn Fn(&Route) -> bool, why| {
            let (upstream, route) = self.routes.iter().enumerate().find(|(_, route)| fits(route))?;
            let dialect = if speaks(route) { dialect } else { *route.dialects.first()? };
            Some(Choice { upstream, dialect, why })
        };
        let has_alias = |route: &Route| route.aliases.contains_key(model);
        let serves = |route: &Route| route.models.is_match(model);
        first(&|route| has_alias(route) && speaks(route), Why::Alias)
            .or_else(|| first(&has_alias, Why::Alias))
            .or_else(|| first(&|route| speaks(route) && serves(route), Why::Model))
            .or_else(|| first(&|route| route.named.is_match(model), Why::OtherDialect))
            .or_else(|| first(&speaks, Why::Dialect))
            .or_else(|| first(&|_| true, Why::First))
    }

    /// The upstream for every call in a dialect, if it is one for all models, is spoken to in that dialect, and knows them by the
    /// clients' names.
    pub fn only(&self, dialect: Dialect) -> Option<usize> {
        let first = self.speaks(&[dialect])?;
        let is_sure = self.routes.get(first)?.all && self.routes.iter().all(|route| route.aliases.is_empty());
        is_sure.then_some(first)
    }

    /// The first upstream that speaks one of these dialects.
    pub fn speaks(&self, dialects: &[Dialect]) -> Option<usize> {
        self.routes.iter().position(|route| route.dialects.iter().any(|dialect| dialects.contains(dialect)))
    }

    /// The name that an upstream has for a model, where it has another than the client.
    pub fn alias(&self, upstream: usize, model: &str) -> Option<&str> {
        let to = self.routes.get(upstream)?.aliases.get(model)?;
        (to != model).then_some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::Document;

    fn routes(text: &str) -> Routes {
        let upstreams: Vec<Upstream> = Document::parse("t", text).expect("yaml").read_as("").expect("upstreams");
        Routes::new(&upstreams)
    }

    #[test]
    fn the_first_that_fits_is_chosen() {
        use Dialect::{AnthropicMessages, OpenaiChat, OpenaiResponses};
        let routes = routes(
            "\
- {name: a, url: demo, dialects: [openai_chat], models: ['gpt-*']}
- {name: b, url: demo, dialects: [openai_chat, openai_responses], models: ['*llama*', 'gpt-5'], aliases: {small: llama}}
- {name: all, url: demo, dialects: [openai_chat]}
- {name: c, url: demo, dialects: [anthropic_messages], models: ['claude-*'], aliases: {gpt-4o: claude-x, small: claude-s}}
",
        );
        for (dialect, model, upstream, spoken, why) in [
            (OpenaiChat, "gpt-5", 0, OpenaiChat, Why::Model),
            (OpenaiResponses, "gpt-5", 1, OpenaiResponses, Why::Model),
            (OpenaiChat, "meta/llama-4", 1, OpenaiChat, Why::Model),
            (OpenaiChat, "mistral", 2, OpenaiChat, Why::Model),
            (OpenaiResponses, "gpt-4", 0, OpenaiChat, Why::OtherDialect),
            (AnthropicMessages, "gpt-5", 0, OpenaiChat, Why::OtherDialect),
            (AnthropicMessages, "llama", 1, OpenaiChat, Why::OtherDialect),
            (OpenaiResponses, "claude-9", 3, AnthropicMessages, Why::OtherDialect),
            (AnthropicMessages, "other", 3, AnthropicMessages, Why::Dialect),
            (OpenaiChat, "gpt-4o", 3, AnthropicMessages, Why::Alias),
            (OpenaiChat, "small", 1, OpenaiChat, Why::Alias),
            (AnthropicMessages, "small", 3, AnthropicMessages, Why::Alias),
        ] {
            let choice = Choice { upstream, dialect: spoken, why };
            assert_eq!(routes.choose(dialect, model), Some(choice), "{dialect:?} {model}");
        }
        assert_eq!(routes.alias(3, "gpt-4o"), Some("claude-x"));
        assert_eq!(routes.alias(0, "gpt-4o"), None);
    }

    #[test]
    fn one_upstream_for_all_models_is_known_without_the_model() {
        use Dialect::{AnthropicMessages, OpenaiChat, OpenaiResponses};
        let some = "{name: some, url: demo, dialects: [openai_chat], models: ['gpt-*']}";
        let all = "{name: all, url: demo, dialects: [openai_chat, openai_responses]}";
        let alias = "{name: alias, url: demo, dialects: [anthropic_messages], aliases: {gpt-5: claude}}";
        for (upstreams, dialect, expected) in [
            (vec![all, some], OpenaiChat, Some(0)),
            (vec![some, all], OpenaiChat, None),
            (vec![some, all], OpenaiResponses, Some(1)),
            (vec![all], AnthropicMessages, None),
            (vec![all, alias], OpenaiChat, None),
            (vec![alias, all], AnthropicMessages, None),
        ] {
            let text = format!("[{}]", upstreams.join(", "));
            let routes = routes(&text);
            assert_eq!(routes.only(dialect), expected, "{text} {dialect:?}");
            for model in ["gpt-5", "claude", ""].into_iter().filter(|_| expected.is_some()) {
                let choice = routes.choose(dialect, model);
                assert_eq!(
                    choice.map(|choice| (choice.upstream, choice.dialect)),
                    expected.map(|only| (only, dialect))
                );
            }
        }
    }

    #[test]
    fn where_nothing_fits_the_first_is_spoken_to_in_its_own_dialect() {
        let routes = routes("- {name: a, url: demo, dialects: [openai_responses, openai_chat], models: ['gpt-*']}");
        let choice = routes.choose(Dialect::AnthropicMessages, "claude-x");
        assert_eq!(choice, Some(Choice { upstream: 0, dialect: Dialect::OpenaiResponses, why: Why::First }));
        assert_eq!(super::Routes::new(&[]).choose(Dialect::OpenaiChat, "x"), None);
    }
}
