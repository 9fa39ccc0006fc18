//! The settings of the policy: what is a command, and the rules as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

/// Decides on the commands in tool calls. Every program that a command would run is judged by the rules, also behind
/// `sudo`, in `bash -c`, in pipes and in substitutions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Globs of the names of tools whose calls hold commands.
    pub tools: Vec<String>,
    /// The arguments that hold a command: a text, or a list of words. `commands` holds a list of texts.
    pub arguments: Vec<String>,
    /// The first rule that fits a program decides. When one is denied, the call is.
    pub rules: Vec<Rule>,
    /// Whether the rules that come with the policy stand behind those above.
    pub defaults: bool,
    /// What is done with a command that cannot be read, or is beyond the limits.
    pub unparsable: Choice,
    /// What is done with a program whose name only the shell knows, as in `$PYTHON x.py`, when no rule fits.
    pub unknown_program: Choice,
    /// What is done with code of which nothing is known, as in `bash -c "$CODE"`, when no rule fits.
    pub unknown_code: Choice,
    /// The text in place of a call that is denied. `{tool}`, `{program}`, `{rule}` and `{reason}` stand for these.
    pub message: String,
}

/// Denies or allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Choice {
    /// The call is denied.
    Deny,
    /// The call passes.
    Allow,
}

/// A rule: every condition that is given must fit. Globs have `*`, `?` and `{a,b}`; upper and lower case are the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// Its name in messages and logs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Why, for the model and for people.
    #[serde(default)]
    pub reason: Option<String>,
    /// The program by its name without folders, and its first words if they matter: `rm`, `git push`. One that begins with
    /// `!` excludes.
    #[serde(default)]
    pub command: List,
    /// The words behind the program.
    #[serde(default)]
    pub arguments: Words,
    /// Paths that the command names in any way. `**` goes over slashes, `~` is every home directory.
    #[serde(default)]
    pub paths: List,
    /// Paths that it names for anything but writing.
    #[serde(default)]
    pub reads: List,
    /// Paths that it writes, creates or deletes, by a redirection or as a program that is known to.
    #[serde(default)]
    pub writes: List,
    /// URLs among the arguments, whole or by their host.
    #[serde(default)]
    pub urls: List,
    /// Programs whose output is its input or among its words, directly or through others.
    #[serde(default)]
    pub piped_from: List,
    /// Programs whose output it runs as code: `curl … | sh`, `eval "$(curl …)"`, `bash <(curl …)`.
    #[serde(default)]
    pub runs_from: List,
    /// What is done with a command that fits.
    #[serde(default)]
    pub action: Action,
    /// With `action: rewrite`, the words in place of those that `command` names.
    #[serde(default)]
    pub rewrite: Option<String>,
}

/// Conditions on words. `-r` is also found in `-rf`, `--force` also as `--force=x` and cut short.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Words {
    /// Each of these fits a word.
    pub all: Vec<String>,
    /// One of these does.
    pub any: Vec<String>,
    /// None of these does.
    pub none: Vec<String>,
}

/// One glob or a list of which one must fit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum List {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// What a rule does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// The call is denied.
    #[default]
    Deny,
    /// The command is let through; later rules are not asked.
    Allow,
    /// The words that `command` names are replaced, and everything else stays.
    Rewrite,
}

/// Usual names of tools that run commands.
const TOOLS: [&str; 18] = [
    "{bash,Bash,sh,zsh,shell,Shell,terminal,Terminal,powershell}",
    "{local_shell,container.exec,shell_command,exec_command,exec,unified_exec,developer__shell}",
    "{run,execute}_{command,shell,bash,script,shell_command,terminal_cmd,in_terminal}",
    "{run,execute}{Command,ShellCommand,InTerminal}",
    "{Run,Execute}{Command,Shell}",
    "run_terminal_{cmd,command}",
    "run_commands",
    "execute_bash_command",
    "bash_{command,tool}",
    "{command,cmd}",
    "shell_{exec,execute,run}",
    "bash_*",
    "*__{bash,shell,exec,terminal}",
    "*__{run,execute}_{command,shell,bash,script,shell_command}",
    "*__{shell,exec}_command",
    "write_stdin",
    "send_keys",
    "functions.{shell,bash,exec_command}",
];

impl Default for Settings {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            tools: owned(&TOOLS),
            arguments: owned(&["command", "cmd", "script", "commands", "command_line", "CommandLine"]),
            rules: Vec::new(),
            defaults: true,
            unparsable: Choice::Deny,
            unknown_program: Choice::Allow,
            unknown_code: Choice::Deny,
            message: "The command was blocked by the rule `{rule}`: {reason}.".to_owned(),
        }
    }
}

impl Default for List {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl List {
    /// The globs.
    pub(super) fn items(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}
