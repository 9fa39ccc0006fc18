//! Rules, compiled, and which of them fits a command.

use super::{
    super::Problem,
    invocation::{Invocation, program},
    paths::{Paths, normal, paths},
    pattern::{Glob, HOME, MANY, ONE, alternatives},
    settings::{Action, List, Rule, Words},
    words::Field,
};

/// A rule that can be asked.
#[derive(Debug)]
pub(super) struct Compiled {
    pub name: String,
    pub reason: String,
    pub action: Action,
    /// The words of a rewrite.
    pub rewrite: String,
    command: Vec<Vec<Glob>>,
    not: Vec<Vec<Glob>>,
    all: Vec<Vec<Argument>>,
    any: Vec<Vec<Argument>>,
    none: Vec<Vec<Argument>>,
    paths: Vec<Glob>,
    reads: Vec<Glob>,
    writes: Vec<Glob>,
    /// With whether the glob is about the whole URL.
    urls: Vec<(Glob, bool)>,
    piped_from: Vec<Glob>,
    runs_from: Vec<Glob>,
}

/// A condition on one word.
#[derive(Debug)]
enum Argument {
    Letter(char),
    Long(String),
    Glob(Glob),
}

/// A command as rules ask about it.
pub(super) struct Asked<'a> {
    invocation: &'a Invocation,
    paths: Paths,
    program: String,
}

impl<'a> Asked<'a> {
    pub(super) fn new(invocation: &'a Invocation) -> Self {
        Self { invocation, paths: paths(invocation), program: invocation.program() }
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }
}

/// Compiles rules; `pointer` is where they stand.
pub(super) fn compile(rules: &[Rule], pointer: &str, problems: &mut Vec<Problem>) -> Vec<Compiled> {
    rules.iter().enumerate().map(|(number, rule)| one(rule, &format!("{pointer}/{number}"), problems)).collect()
}

fn one(rule: &Rule, pointer: &str, problems: &mut Vec<Problem>) -> Compiled {
    let mut problem = |key: &str, message: String, remedy: &str| {
        problems.push(Problem::new(format!("{pointer}{key}"), message, remedy));
    };
    let Words { all, any, none } = &rule.arguments;
    let lists = [&rule.command, &rule.paths, &rule.reads, &rule.writes, &rule.urls, &rule.piped_from, &rule.runs_from];
    if lists.iter().all(|list| list.items().is_empty()) && all.is_empty() && any.is_empty() && none.is_empty() {
        problem(
            "",
            format!("the rule `{}` has no condition, and would fit every command", rule.name),
            "say what it is about",
        );
    }
    let rewrite = rule.rewrite.clone().unwrap_or_default();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || " _-./=@:+,".contains(char);
    match rule.action {
        Action::Rewrite if rewrite.trim().is_empty() => {
            problem(
                "",
                format!("the rule `{}` rewrites to nothing", rule.name),
                "say under `rewrite` what to write, as `uv add`",
            );
        }
        Action::Rewrite if rule.command.items().iter().all(|item| item.starts_with('!')) => {
            problem(
                "",
                format!("the rule `{}` does not say which words to rewrite", rule.name),
                "name them under `command`, as `pip install`",
            );
        }
        Action::Rewrite if !rewrite.chars().all(is_plain) => {
            problem("/rewrite", format!("`{rewrite}` is more than plain words"), "use letters, digits and `_-./=@:+,`");
        }
        Action::Deny | Action::Allow if rule.rewrite.is_some() => {
            problem(
                "/rewrite",
                format!("the rule `{}` does not rewrite", rule.name),
                "say `action: rewrite`, or leave `rewrite` out",
            );
        }
        Action::Rewrite | Action::Deny | Action::Allow => {}
    }
    let mut compiler = Compiler { pointer, problems };
    let (command, not) = compiler.commands(&rule.command);
    Compiled {
        name: rule.name.clone(),
        reason: rule.reason.clone().unwrap_or_else(|| "it is not allowed here".to_owned()),
        action: rule.action,
        rewrite,
        command,
        not,
        all: compiler.words("all", all),
        any: compiler.words("any", any),
        none: compiler.words("none", none),
        paths: compiler.paths("paths", &rule.paths),
        reads: compiler.paths("reads", &rule.reads),
        writes: compiler.paths("writes", &rule.writes),
        urls: compiler.urls(&rule.urls),
        piped_from: compiler.texts("piped_from", &rule.piped_from),
        runs_from: compiler.texts("runs_from", &rule.runs_from),
    }
}

struct Compiler<'a> {
    pointer: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Compiler<'_> {
    fn glob(&mut self, key: &str, text: &str, glob: Option<Glob>) -> Option<Glob> {
        if glob.is_none() {
            self.problems.push(Problem::new(
                format!("{}/{key}", self.pointer),
                format!("`{text}` is not a glob"),
                "use `*`, `?` and `{a,b}`, with few braces and none within braces",
            ));
        }
        glob
    }

    fn texts(&mut self, key: &str, list: &List) -> Vec<Glob> {
        list.items().iter().filter_map(|text| self.glob(key, text, Glob::text(text))).collect()
    }

    fn urls(&mut self, list: &List) -> Vec<(Glob, bool)> {
        let glob = |text: &String| Some((self.glob("urls", text, Glob::text(text))?, text.contains('/')));
        list.items().iter().filter_map(glob).collect()
    }

    fn paths(&mut self, key: &str, list: &List) -> Vec<Glob> {
        let mut globs = Vec::new();
        for text in list.items() {
            // Rules name a place by its one spelling, as commands do.
            for path in alternatives(text).unwrap_or_else(|| vec![text.clone()]) {
                let home = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
                let path = home.map_or_else(|| path.clone(), |rest| format!("{HOME}{rest}"));
                let path = if path.starts_with(['/', HOME]) { normal(&path, None) } else { path };
                globs.extend(self.glob(key, text, Glob::path(&path)));
            }
        }
        globs
    }

    fn commands(&mut self, list: &List) -> (Vec<Vec<Glob>>, Vec<Vec<Glob>>) {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        for text in list.items() {
            let (side, words) = text.strip_prefix('!').map_or((&mut yes, &**text), |rest| (&mut no, rest));
            let globs: Vec<_> =
                words.split_whitespace().filter_map(|word| self.glob("command", text, Glob::text(word))).collect();
            if !globs.is_empty() {
                side.push(globs);
            }
        }
        (yes, no)
    }

    fn words(&mut self, key: &str, words: &[String]) -> Vec<Vec<Argument>> {
        let key = format!("arguments/{key}");
        let mut out = Vec::new();
        for text in words {
            let Some(items) = alternatives(text) else {
                self.glob(&key, text, None);
                continue;
            };
            out.push(items.iter().filter_map(|item| self.argument(&key, item)).collect());
        }
        out
    }

    fn argument(&mut self, key: &str, item: &str) -> Option<Argument> {
        let mut chars = item.chars();
        match (chars.next(), chars.next(), chars.next()) {
            (Some('-'), Some(letter), None) if letter.is_ascii_alphabetic() => Some(Argument::Letter(letter)),
            (Some('-'), Some('-'), Some(_)) if !item.contains(['*', '?', '=']) => Some(Argument::Long(item.to_owned())),
            _ => self.glob(key, item, Glob::text(item)).map(Argument::Glob),
        }
    }
}

impl Compiled {
    /// Whether a command fits, and how many of its words `command` names.
    pub(super) fn fits(&self, asked: &Asked<'_>) -> Option<usize> {
        let invocation = asked.invocation;
        let named = match &self.command[..] {
            [] => 0,
            commands => commands.iter().find_map(|command| begins(command, asked))?,
        };
        if self.not.iter().any(|command| begins(command, asked).is_some()) {
            return None;
        }
        let arguments = invocation.arguments();
        let has = |conditions: &Vec<Argument>| conditions.iter().any(|condition| condition.is_in(arguments));
        let words =
            self.all.iter().all(has) && (self.any.is_empty() || self.any.iter().any(has)) && !self.none.iter().any(has);
        let fits = words
            && any(&self.piped_from, &invocation.piped_from)
            && any(&self.runs_from, &invocation.runs_from)
            && any(&self.paths, &asked.paths.all)
            && any(&self.reads, &asked.paths.reads)
            && any(&self.writes, &asked.paths.writes)
            && (self.urls.is_empty() || arguments.iter().any(|word| self.is_url(&word.text)));
        fits.then_some(named)
    }

    fn is_url(&self, word: &str) -> bool {
        let rest = word.split_once("://").map_or(word, |(_, rest)| rest);
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        let fits = |(glob, is_whole): &(Glob, bool)| match is_whole {
            true => glob.fits(word),
            false => (host.contains('.') || rest.len() < word.len()) && glob.fits(host),
        };
        self.urls.iter().any(fits)
    }
}

/// Whether one of the globs fits one of the texts. No globs: no condition.
fn any<'a>(globs: &[Glob], texts: impl IntoIterator<Item = &'a String>) -> bool {
    globs.is_empty() || texts.into_iter().any(|text| globs.iter().any(|glob| glob.fits(text)))
}

fn begins(command: &[Glob], asked: &Asked<'_>) -> Option<usize> {
    let words = &asked.invocation.words;
    let (first, rest) = command.split_first()?;
    // A name that is only a wildcard may be any program, and says nothing.
    let is_named = asked.program.contains(|char| !matches!(char, MANY | ONE));
    let fits = is_named
        && first.fits(&asked.program)
        && rest.iter().enumerate().all(|(at, glob)| words.get(at + 1).is_some_and(|word| glob.fits(&word.text)));
    fits.then_some(command.len())
}

impl Argument {
    fn is_in(&self, arguments: &[Field]) -> bool {
        let flags = arguments.iter().take_while(|word| word.text != "--").map(|word| &*word.text);
        match self {
            Self::Letter(letter) => flags.into_iter().any(|text| {
                text.strip_prefix('-').is_some_and(|group| !group.starts_with('-') && group.contains(*letter))
            }),
            Self::Long(long) => flags.into_iter().any(|text| {
                let name = text.split('=').next().unwrap_or_default();
                name.len() > 2 && name.starts_with("--") && long.starts_with(name)
            }),
            Self::Glob(glob) => arguments.iter().any(|word| glob.fits(&word.text)),
        }
    }
}

/// The name of a program in a rule's message.
pub(super) fn shown(program_name: &str) -> String {
    let name: String = program(program_name).chars().filter(|char| !char.is_control()).take(64).collect();
    if name.chars().all(|char| char.is_ascii_graphic()) && !name.is_empty() { name } else { "?".to_owned() }
}
