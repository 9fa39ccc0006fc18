//! Commands that run other commands: `sudo`, `bash -c`, `xargs` and the like.

use super::{
    foreign::{interpreter, option_code},
    invocation::program,
    options::{Options, operands_at},
    pattern::{Glob, MANY, ONE},
    scope::Value,
    tables::{RUNNERS, SHELLS, WRAPPERS},
    words::Field,
};

/// What a command runs.
#[derive(Debug)]
pub(super) enum Inner {
    /// Nothing that is known of here.
    Nothing,
    /// Several things.
    All(Vec<Inner>),
    /// A program with arguments.
    Words(Vec<Field>),
    /// The same, with arguments that it reads, in the place of this text if there is one.
    Fed(Vec<Field>, Option<String>, Split),
    /// The same, in another directory.
    In(String, Box<Inner>),
    /// What may be code of a shell.
    Perhaps(String),
    /// Code of a shell.
    Code {
        code: Field,
        arguments: Option<Vec<Value>>,
        /// In the same shell, whose variables it sees and changes.
        is_here: bool,
    },
    /// Its input, as code of a shell.
    Input,
    /// Its input, as code that is not a shell's.
    Data,
    /// A file of code.
    File { path: Field, is_here: bool, is_shell: bool },
}

/// How what is read becomes arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    Blanks,
    /// As `find -print0` writes it.
    Lines,
}

/// What a list of words runs besides its program.
pub(super) fn inner(words: &[Field]) -> Inner {
    let Some((first, arguments)) = words.split_first() else { return Inner::Nothing };
    let name = program(&first.text);
    let may_be = |shell: &&str| Glob::text(shell).is_some_and(|shell| shell.fits(&name));
    if SHELLS.contains(&&*name) || name.contains([MANY, ONE]) && SHELLS.iter().any(may_be) {
        return shell(arguments);
    }
    let flag = |flag: &str| arguments.iter().position(|word| word.text == flag).and_then(|at| arguments.get(at + 1));
    match &*name {
        "eval" => here(joined(arguments)),
        "trap" => operand(arguments).map_or(Inner::Nothing, |code| here(code.clone())),
        "source" | "." => match arguments.first() {
            Some(path) if is_input(&path.text) => Inner::Input,
            Some(path) => Inner::File { path: path.clone(), is_here: true, is_shell: true },
            None => Inner::Nothing,
        },
        "alias" => alias(arguments),
        "su" | "runuser" | "script" | "flock" | "sg" | "newgrp" if grouped_code(arguments).is_some() => {
            grouped_code(arguments).map_or(Inner::Nothing, |code| there(code.clone()))
        }
        "npx" | "npm" | "pnpm" if flag("-c").or(flag("--call")).is_some() => {
            flag("-c").or(flag("--call")).map_or(Inner::Nothing, |code| there(code.clone()))
        }
        "tmux" => {
            let code = |word: &Field| word.text.contains(' ').then(|| Inner::Perhaps(word.text.clone()));
            Inner::All(arguments.iter().filter_map(code).collect())
        }
        "nix-shell" => flag("--run").or(flag("--command")).map_or(Inner::Nothing, |code| there(code.clone())),
        "su" | "at" | "batch" => Inner::Input,
        "runuser" => wrapped(arguments, Options("ugGs", &["user", "group", "shell"]), 0),
        "flock" => wrapped(arguments, Options("wE", &["timeout", "conflict-exit-code"]), 1),
        "command" if arguments.first().is_some_and(|word| matches!(&*word.text, "-v" | "-V")) => Inner::Nothing,
        "env" => env(arguments),
        "sudo" | "doas" => sudo(arguments),
        "watch" | "hyperfine" | "entr" => {
            let at = operands_at(arguments, Options("nqwmrS", &["interval", "warmup", "runs"]));
            there(joined(arguments.get(at..).unwrap_or_default()))
        }
        "ssh" => {
            let at = operands_at(arguments, Options("bcDEeFIiJLlmOopQRSWwB", &[]));
            let behind = arguments.get(at + 1..).unwrap_or_default();
            let is_end = behind.first().is_some_and(|word| word.text == "--");
            let code = behind.get(usize::from(is_end)..).unwrap_or_default();
            let remote = if code.is_empty() { Inner::Input } else { there(joined(code)) };
            let mut all = option_code(&name, arguments);
            all.push(remote);
            Inner::All(all)
        }
        "xargs" => xargs(arguments),
        "parallel" => parallel(arguments),
        "find" | "gfind" | "fd" | "fdfind" => find(arguments),
        "kubectl" | "oc" | "lxc" => match arguments.iter().position(|word| word.text == "--") {
            Some(at) => Inner::Words(arguments.get(at + 1..).unwrap_or_default().to_vec()),
            None => Inner::Nothing,
        },
        "git" => {
            let mut all = option_code(&name, arguments);
            all.extend(git_runs(arguments));
            Inner::All(all)
        }
        "tar" | "bsdtar" | "vim" | "vi" | "nvim" | "scp" | "sftp" | "rsync" | "make" => {
            Inner::All(option_code(&name, arguments))
        }
        _ => runner(&name, arguments).unwrap_or_else(|| interpreter(&name, arguments)),
    }
}

/// The code behind `-c`, which may end a group of letters, or behind `--command`.
fn grouped_code(arguments: &[Field]) -> Option<&Field> {
    let is_code = |word: &Field| {
        let letters = word.text.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        word.text == "--command" || letters.is_some_and(|letters| letters.ends_with('c'))
    };
    arguments.get(arguments.iter().position(is_code)? + 1)
}

fn here(code: Field) -> Inner {
    Inner::Code { code, arguments: None, is_here: true }
}

fn there(code: Field) -> Inner {
    Inner::Code { code, arguments: None, is_here: false }
}

/// What git runs between its own steps.
fn git_runs(arguments: &[Field]) -> Option<Inner> {
    let pairs = arguments.windows(2).enumerate();
    let at = pairs.into_iter().find_map(|(at, pair)| match pair {
        [first, second] if matches!((&*first.text, &*second.text), ("bisect", "run") | ("submodule", "foreach")) => {
            Some(at + 2)
        }
        _ => None,
    });
    let rest = at.and_then(|at| arguments.get(at..));
    if let Some(rest) = rest {
        let code = rest.get(operands_at(rest, Options("", &[]))..).unwrap_or_default();
        return Some(there(joined(code)));
    }
    let rebase = arguments.iter().position(|word| word.text == "rebase")?;
    let rest = arguments.get(rebase..)?;
    let exec = rest.iter().position(|word| matches!(&*word.text, "-x" | "--exec"))?;
    rest.get(exec + 1).map(|code| there(code.clone()))
}

fn operand(arguments: &[Field]) -> Option<&Field> {
    arguments.get(operands_at(arguments, Options("", &[])))
}

/// Whether a file's name is that of the input.
pub(super) fn is_input(path: &str) -> bool {
    matches!(path, "-" | "/dev/stdin" | "/proc/self/fd/0" | "/dev/fd/0")
}

/// Words joined by blanks, as `eval` and `ssh` do it.
fn joined(words: &[Field]) -> Field {
    if let [word] = words {
        return word.clone();
    }
    let mut all = Value::default();
    for (number, word) in words.iter().enumerate() {
        if number > 0 {
            all.text.push(' ');
        }
        all.push(&word.value());
    }
    Field::of(all)
}

/// The value of an option, in the next word or behind `=`.
fn value_of(arguments: &[Field], name: &str) -> Option<String> {
    arguments.iter().enumerate().find_map(|(at, word)| match word.text.strip_prefix(name)? {
        "" => arguments.get(at + 1).map(|word| word.text.clone()),
        rest => rest.strip_prefix('=').map(str::to_owned),
    })
}

fn placed(arguments: &[Field], names: &[&str], inner: Inner) -> Inner {
    match names.iter().find_map(|name| value_of(arguments, name)) {
        Some(directory) => Inner::In(directory, Box::new(inner)),
        None => inner,
    }
}

fn wrapped(arguments: &[Field], options: Options, operands: usize) -> Inner {
    let at = operands_at(arguments, options) + operands;
    match arguments.get(at..) {
        Some(words @ [_, ..]) => Inner::Words(words.to_vec()),
        _ => Inner::Nothing,
    }
}

fn runner(name: &str, arguments: &[Field]) -> Option<Inner> {
    if let Some((_, options, operands)) = WRAPPERS.iter().find(|(wrapper, ..)| *wrapper == name) {
        return Some(wrapped(arguments, *options, *operands));
    }
    let known = || RUNNERS.iter().filter(|(runner, ..)| *runner == name);
    let (at, runner) = arguments.iter().enumerate().take(4).find_map(|(at, word)| {
        // `docker compose exec` and `docker container run` have a word more.
        Some((at, known().find(|(_, verb, ..)| *verb == word.text)?))
    })?;
    let rest = arguments.get(at + 1..)?;
    let inner = wrapped(rest, runner.2, runner.3);
    let entry = value_of(rest, "--entrypoint");
    Some(match (entry, inner) {
        (Some(entry), Inner::Words(words)) => {
            Inner::Words(std::iter::once(Field::of(Value::of(entry))).chain(words).collect())
        }
        (_, inner) => inner,
    })
}

fn shell(arguments: &[Field]) -> Inner {
    let mut is_code = false;
    let mut is_input = false;
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        let text = &*word.text;
        if text == "-" || text == "--" {
            at += 1;
            break;
        }
        if !text.starts_with(['-', '+']) {
            break;
        }
        let takes_value = !text.starts_with("--") && text.ends_with(['o', 'O']);
        if matches!(text, "--rcfile" | "--init-file")
            && let Some(path) = arguments.get(at + 1)
        {
            return Inner::File { path: path.clone(), is_here: false, is_shell: true };
        }
        if !text.starts_with("--") {
            is_code |= text.starts_with('-') && text.contains('c');
            is_input |= text.contains('s');
        }
        is_code |= text.eq_ignore_ascii_case("-command") || text == "--command";
        at += if takes_value { 2 } else { 1 };
    }
    match arguments.get(at..).unwrap_or_default() {
        [code, rest @ ..] if is_code => {
            let arguments = rest.iter().map(Field::value).collect();
            Inner::Code { code: code.clone(), arguments: Some(arguments), is_here: false }
        }
        [path, ..] if !is_input && !self::is_input(&path.text) => {
            Inner::File { path: path.clone(), is_here: false, is_shell: true }
        }
        _ => Inner::Input,
    }
}

fn alias(arguments: &[Field]) -> Inner {
    let code = |word: &Field| Some(there(Field::of(Value::of(word.text.split_once('=')?.1))));
    Inner::All(arguments.iter().filter_map(code).collect())
}

fn env(arguments: &[Field]) -> Inner {
    let split = arguments.iter().enumerate().find_map(|(at, word)| {
        let code = word.text.strip_prefix("--split-string=").or_else(|| {
            word.text.strip_prefix("-").filter(|text| !text.starts_with('-'))?.split_once('S').map(|(_, code)| code)
        })?;
        Some((at, code))
    });
    // Only what stands before the command is an option.
    if let Some((at, code)) = split.filter(|(at, _)| operands_at(arguments, Options("uC", &["unset", "chdir"])) > *at) {
        let mut rest = arguments.iter().skip(at + 1);
        let mut code = match code {
            "" => rest.next().map(Field::value).unwrap_or_default(),
            code => Value::of(code),
        };
        for word in rest {
            let word = word.value();
            code.push(&Value { text: format!(" '{}'", word.text.replace('\'', r"'\''")), ..word });
        }
        return there(Field::of(code));
    }
    placed(arguments, &["-C", "--chdir"], wrapped(arguments, Options("uC", &["unset", "chdir"]), 0))
}

fn sudo(arguments: &[Field]) -> Inner {
    let options =
        WRAPPERS.iter().find(|(name, ..)| *name == "sudo").map_or(Options("", &[]), |(_, options, _)| *options);
    let at = operands_at(arguments, options);
    let flags = arguments.get(..at).unwrap_or_default();
    match arguments.get(at..) {
        // `sudoedit` under another name.
        Some([_, ..]) if flags.iter().any(|word| matches!(&*word.text, "-e" | "--edit")) => Inner::Nothing,
        Some(words @ [_, ..]) => placed(flags, &["-D", "--chdir"], Inner::Words(words.to_vec())),
        // `sudo -s` and `sudo -i` start a shell.
        _ if flags.iter().any(|word| matches!(&*word.text, "-s" | "-i" | "--shell" | "--login")) => Inner::Input,
        _ => Inner::Nothing,
    }
}

fn xargs(arguments: &[Field]) -> Inner {
    let at = operands_at(
        arguments,
        Options(
            "adEIJLlnPRsS",
            &["arg-file", "delimiter", "max-lines", "max-args", "max-procs", "max-chars", "process-slot-var"],
        ),
    );
    let flags = arguments.get(..at).unwrap_or_default();
    let by_line = |word: &Field| {
        matches!(&*word.text, "-0" | "--null") || word.text.starts_with("-d") || word.text.starts_with("--delimiter")
    };
    let split = if flags.iter().any(by_line) { Split::Lines } else { Split::Blanks };
    let mut place = None;
    for (number, flag) in flags.iter().enumerate() {
        let attached = ["--replace=", "-I", "-J", "-i"].iter().find_map(|name| flag.text.strip_prefix(name));
        match attached {
            Some("") if flag.text == "-i" => place = Some("{}".to_owned()),
            Some("") => place = flags.get(number + 1).map(|word| word.text.clone()),
            Some(attached) => place = Some(attached.to_owned()),
            None if flag.text == "--replace" => place = Some("{}".to_owned()),
            None => {}
        }
    }
    let place = place.filter(|place| !place.is_empty());
    match arguments.get(at..) {
        Some(words @ [_, ..]) => Inner::Fed(words.to_vec(), place, split),
        _ => Inner::Nothing,
    }
}

fn parallel(arguments: &[Field]) -> Inner {
    let at =
        operands_at(arguments, Options("jNnLSaCdIPsX", &["jobs", "colsep", "delay", "timeout", "joblog", "results"]));
    let rest = arguments.get(at..).unwrap_or_default();
    let end = rest.iter().position(|word| word.text.starts_with(":::")).unwrap_or(rest.len());
    let command = rest.get(..end).unwrap_or_default();
    let values = rest.get(end + 1..).unwrap_or_default();
    if command.is_empty() {
        // Each value is a command, or each line of the input.
        let each: Vec<_> = values.iter().cloned().map(there).collect();
        return if each.is_empty() { Inner::Input } else { Inner::All(each) };
    }
    let code = joined(command);
    if values.is_empty() {
        return Inner::Fed(
            vec![Field::of(Value::of("sh")), Field::of(Value::of("-c")), code],
            Some("{}".to_owned()),
            Split::Lines,
        );
    }
    let each = values.iter().map(|value| {
        let mut code = code.value();
        if code.text.contains("{}") {
            code.text = code.text.replace("{}", &value.text);
        } else {
            code.text.push(' ');
            code.push(&value.value());
        }
        there(Field::of(code))
    });
    Inner::All(each.collect())
}

/// `find … -exec`: the command runs on everything below the paths, which stand for all of that.
fn find(arguments: &[Field]) -> Inner {
    let is_test = |word: &&Field| word.text.starts_with('-') || matches!(&*word.text, "(" | "!");
    let flags = arguments.iter().take_while(|word| matches!(&*word.text, "-H" | "-L" | "-P")).count();
    let mut paths: Vec<Field> = arguments.iter().skip(flags).take_while(|word| !is_test(word)).cloned().collect();
    if paths.is_empty() {
        paths.push(Field::of(Value::of(".")));
    }
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        at += 1;
        if !matches!(&*word.text, "-exec" | "-execdir" | "-ok" | "-okdir" | "-x" | "-X" | "--exec" | "--exec-batch") {
            continue;
        }
        let command = arguments.get(at..).unwrap_or_default();
        let end = command.iter().position(|word| matches!(&*word.text, ";" | "+")).unwrap_or(command.len());
        let command = command.get(..end).unwrap_or_default();
        at += end;
        for path in &paths {
            let on_path = |word: &Field| {
                if word.text.contains("{}") {
                    Field::of(Value::of(word.text.replace("{}", &path.text)))
                } else {
                    word.clone()
                }
            };
            all.push(Inner::Words(command.iter().map(on_path).collect()));
        }
    }
    Inner::All(all)
}
