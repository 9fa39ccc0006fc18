//! Paths in commands: one spelling for each, and which of them a command writes.

use indexmap::IndexSet;

use super::{
    foreign::literals,
    invocation::Invocation,
    pattern::{HOME, MANY, ONE, UNKNOWN},
    words::Field,
};

/// Languages whose code names files between quotes.
const INTERPRETERS: [&str; 8] = ["python", "pypy", "perl", "ruby", "node", "php", "lua", "osascript"];

/// Options for the keys and certificates by which a program says who it is: it shows them nobody.
const OWN: &[(&[&str], &[&str])] = &[
    (&["scp", "sftp", "rsync", "mosh", "autossh", "sshfs"], &["-i"]),
    (
        &["kubectl", "oc", "helm", "helmfile", "k9s", "kustomize", "flux", "argocd", "stern", "velero"],
        &["--kubeconfig"],
    ),
    (&["curl"], &["--cacert", "--cert", "-E", "--key", "--capath", "--proxy-cacert", "--proxy-cert", "--proxy-key"]),
    (&["wget"], &["--ca-certificate", "--certificate", "--private-key"]),
    (&["openssl"], &["-CAfile", "-cert", "-key"]),
    (&["psql", "mysql", "mysqldump"], &["--ssl-ca", "--ssl-cert", "--ssl-key"]),
    (&["ansible", "ansible-playbook"], &["--private-key", "--key-file"]),
];

/// The paths that a command names, each once.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// All of them.
    pub all: IndexSet<String>,
    /// Those that it writes, deletes or creates.
    pub writes: IndexSet<String>,
    /// Those that it does not only write.
    pub reads: IndexSet<String>,
}

/// The one spelling of a path: without `.`, `..` and doubled slashes, and with one character for every home directory. A relative
/// path stays one where the directory is not known.
pub(super) fn normal(path: &str, directory: Option<&str>) -> String {
    let path = path.strip_prefix("file://").unwrap_or(path);
    let (root, rest) = if let Some(rest) = path.strip_prefix(HOME) {
        ("~", rest.to_owned())
    } else if path.starts_with('/') {
        ("/", path.to_owned())
    } else {
        match directory {
            Some(directory) if directory.starts_with(HOME) => {
                ("~", format!("{}/{path}", directory.strip_prefix(HOME).unwrap_or_default()))
            }
            Some(directory) => ("/", format!("{directory}/{path}")),
            None => ("", path.to_owned()),
        }
    };
    let mut parts: Vec<&str> = Vec::new();
    let mut root = root;
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => match (parts.last(), root) {
                (Some(&".."), _) | (None, "") => parts.push(".."),
                (Some(_), _) => _ = parts.pop(),
                (None, "~") => {
                    root = "/";
                    parts.push("home");
                }
                (None, _) => {}
            },
            part => parts.push(part),
        }
    }
    if root == "/" {
        (root, parts) = rooted(parts);
    }
    let joined = parts.join("/");
    match (root, joined.is_empty()) {
        ("~", true) => HOME.to_string(),
        ("~", false) => format!("{HOME}/{joined}"),
        ("/", _) => format!("/{joined}"),
        (_, true) => ".".to_owned(),
        _ => joined,
    }
}

/// Other names of the same places.
fn rooted(mut parts: Vec<&str>) -> (&'static str, Vec<&str>) {
    while let ["proc", _, "root", ..] = &parts[..] {
        parts.drain(..3);
    }
    let aliased = match &parts[..] {
        ["private", "etc" | "tmp" | "var", ..] => 1,
        ["System", "Volumes", "Data", ..] => 3,
        _ => 0,
    };
    parts.drain(..aliased);
    let homes = match &parts[..] {
        ["home" | "Users", _, ..] | ["var", "root", ..] => 2,
        ["root", ..] => 1,
        _ => return ("/", parts),
    };
    // A pattern for all homes is all of them.
    parts.drain(..homes);
    ("~", parts)
}

/// The paths of a command.
pub(super) fn paths(invocation: &Invocation) -> Paths {
    let mut paths = Paths::default();
    let arguments = invocation.arguments();
    let name = invocation.program();
    let moved =
        matches!(&*name, "tar" | "bsdtar" | "git" | "make").then(|| valued(arguments, &["-C"])).unwrap_or_default();
    let moved = moved.first().map(|path| normal(path, invocation.directory.as_deref()));
    let directory = moved.as_deref().or(invocation.directory.as_deref());
    // A name that is a pattern may be that of any program.
    let writer = if name.contains([MANY, ONE]) { "rm" } else { &*name };
    for path in written(writer, arguments).iter().chain(&invocation.redirected_out) {
        paths.writes.insert(normal(path, directory));
    }
    for path in &invocation.redirected_in {
        paths.reads.insert(normal(path, directory));
    }
    // What these write they read as well.
    let in_place = matches!(
        &*name,
        "sed" | "gsed" | "perl" | "ruby" | "vi" | "vim" | "nano" | "emacs" | "ed" | "ex" | "mv" | "patch" | "sort"
    );
    let pattern = pattern_at(&name, arguments);
    for (at, word) in arguments.iter().enumerate() {
        for path in named(&word.text).into_iter().filter(|path| pattern != Some(at) && may_be_path(path)) {
            let path = normal(path, directory);
            if in_place || !(is_own(&name, arguments, at) || paths.writes.contains(&path)) {
                paths.reads.insert(path.clone());
            }
            paths.all.insert(path);
        }
    }
    if INTERPRETERS.iter().any(|interpreter| name.starts_with(interpreter)) {
        for text in arguments.iter().flat_map(|word| literals(&word.text)) {
            let home = text.strip_prefix('~').map(|rest| format!("{HOME}{rest}"));
            let path = home.as_deref().unwrap_or(text);
            if path.starts_with(['/', HOME]) && !path.contains(['\n', ' ']) {
                paths.reads.insert(normal(path, directory));
            }
        }
    }
    paths.all.extend(paths.writes.iter().chain(&paths.reads).cloned());
    paths
}

/// Whether the word at `at` is a file that the program uses only to say who it is.
fn is_own(name: &str, arguments: &[Field], at: usize) -> bool {
    let Some((_, options)) = OWN.iter().find(|(programs, _)| programs.contains(&name)) else { return false };
    let text = |at: usize| arguments.get(at).map(|word| &*word.text);
    let before = at.checked_sub(1).and_then(text);
    let key = text(at).and_then(|text| Some(text.split_once('=')?.0));
    options.iter().any(|option| before == Some(*option) || key == Some(*option))
}

/// Where a program that searches has what it searches for, which is no path.
fn pattern_at(name: &str, arguments: &[Field]) -> Option<usize> {
    let searches =
        matches!(name, "grep" | "egrep" | "fgrep" | "rg" | "ag" | "ack" | "sed" | "gsed" | "awk" | "gawk" | "jq");
    let has_own = arguments.iter().any(|word| {
        matches!(&*word.text, "-e" | "-f" | "--regexp" | "--file" | "--files" | "--expression" | "--from-file")
    });
    let at = arguments.iter().position(|word| !word.text.starts_with('-'))?;
    (searches && !has_own).then_some(at)
}

/// Prose and code are no paths, though they may hold some.
fn may_be_path(text: &str) -> bool {
    !text.contains('\n') && (!text.contains(' ') || text.starts_with(['/', '.', HOME]))
}

/// The paths in a word: all of it, behind `=`, behind `@`, and behind an option's letter.
fn named(word: &str) -> Vec<&str> {
    let mut paths = vec![word];
    for part in word.split(['=', '@', ':', ',', '<']).skip(1).filter(|part| !part.is_empty()) {
        paths.push(part);
    }
    if let Some(value) = word.strip_prefix('-').and_then(|flag| flag.get(1..)) {
        let value = value.strip_prefix('@').unwrap_or(value);
        if value.starts_with(['/', '.', HOME]) {
            paths.push(value);
        }
    }
    paths
}

/// The paths that a program writes by its arguments, as they are written.
pub(super) fn written(name: &str, arguments: &[Field]) -> Vec<String> {
    let operands: Vec<&str> =
        arguments.iter().map(|word| &*word.text).filter(|text| !text.starts_with('-') || *text == "-").collect();
    let flag = |names: &[&str]| valued(arguments, names);
    let has = |letter: char, long: &str| {
        arguments.iter().any(|word| {
            let text = &*word.text;
            text.strip_prefix('-').is_some_and(|flags| !flags.starts_with('-') && flags.contains(letter))
                || text == long
                || text.starts_with(&format!("{long}="))
        })
    };
    let all = || operands.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    // What a file from the network is called here.
    let names =
        || operands.iter().filter_map(|url| url.rsplit_once('/')).map(|(_, name)| name.to_owned()).collect::<Vec<_>>();
    match name {
        "tee" | "touch" | "mkdir" | "rm" | "rmdir" | "unlink" | "shred" | "truncate" | "srm" | "trash" | "vi"
        | "vim" | "nano" | "emacs" | "ed" | "ex" | "sponge" => all(),
        "cp" | "mv" | "ln" | "install" | "rsync" | "scp" | "gcp" | "gmv" | "ditto" => {
            let mut targets = flag(&["-t", "--target-directory"]);
            if targets.is_empty() {
                targets.extend(operands.last().filter(|_| operands.len() > 1).map(|text| (*text).to_owned()));
            }
            let inside: Vec<String> = operands
                .iter()
                .filter_map(|source| source.trim_end_matches('/').rsplit('/').next())
                .flat_map(|source| targets.iter().map(move |target| format!("{target}/{source}")))
                .collect();
            targets.extend(inside);
            if name == "mv" {
                targets.extend(all());
            }
            targets
        }
        "dd" => operands.iter().filter_map(|text| text.strip_prefix("of=")).map(str::to_owned).collect(),
        "sed" | "gsed" | "perl" | "ruby" if has('i', "--in-place") => all(),
        "curl" => {
            let mut paths = flag(&["-o", "--output", "--output-dir", "-D", "--dump-header", "-c", "--cookie-jar"]);
            if has('O', "--remote-name") || has('O', "--remote-name-all") {
                paths.extend(names());
            }
            paths
        }
        "wget" => {
            let mut paths = flag(&["-O", "--output-document", "-P", "--directory-prefix", "-o", "--output-file", "-a"]);
            paths.extend(names());
            paths
        }
        "aria2c" => flag(&["-d", "--dir", "-o", "--out"]),
        "tar" | "bsdtar" => flag(&["-C", "--directory"]),
        "unzip" => flag(&["-d"]),
        "sort" | "openssl" | "gpg" | "go" | "gcc" | "cc" => flag(&["-o", "--output", "-out"]),
        "patch" => operands.first().map(|text| (*text).to_owned()).into_iter().collect(),
        "find" if arguments.iter().any(|word| word.text == "-delete") => {
            let paths = operands.iter().take_while(|text| !matches!(**text, "(" | "!"));
            match found_name(arguments) {
                // Not the directory, but what is called so in it.
                Some(name) => paths
                    .map(|path| if *path == "/" { (*path).to_owned() } else { format!("{path}/{UNKNOWN}/{name}") })
                    .collect(),
                None => paths.map(|path| (*path).to_owned()).collect(),
            }
        }
        "gio" if operands.first() == Some(&"trash") => all(),
        "cmake" if arguments.first().is_some_and(|word| word.text == "-E") => all(),
        "find" => flag(&["-fprint", "-fprintf", "-fls"]),
        "git" if operands.first() == Some(&"config") => flag(&["-f", "--file"]),
        _ => Vec::new(),
    }
}

/// The one name that `find` looks for, if that leaves most files alone.
fn found_name(arguments: &[Field]) -> Option<String> {
    let is_other = |word: &Field| matches!(&*word.text, "-o" | "-or" | "," | "!" | "-not" | "(");
    let names = valued(arguments, &["-name", "-iname"]);
    let is_name = |name: &String| name.chars().filter(|char| char.is_alphanumeric()).count() > 1;
    names.into_iter().next().filter(|name| is_name(name) && !arguments.iter().any(is_other))
}

/// The values of options: in the next word, behind `=`, or behind the letter.
fn valued(arguments: &[Field], names: &[&str]) -> Vec<String> {
    let mut values = Vec::new();
    for (at, word) in arguments.iter().enumerate() {
        for name in names {
            let Some(rest) = word.text.strip_prefix(name) else { continue };
            if rest.is_empty() {
                values.extend(arguments.get(at + 1).map(|word| word.text.clone()));
            } else if let Some(value) = rest.strip_prefix('=') {
                values.push(value.to_owned());
            } else if !name.starts_with("--") && name.len() == 2 {
                values.push(rest.to_owned());
            }
        }
        // The letter may end a group: `-fsSLo FILE`.
        let group = word.text.strip_prefix('-').filter(|flags| !flags.starts_with('-') && flags.len() > 1);
        if let Some(last) = group.and_then(|flags| flags.chars().last())
            && names.contains(&&*format!("-{last}"))
        {
            values.extend(arguments.get(at + 1).map(|word| word.text.clone()));
        }
    }
    values.retain(|value| !value.chars().all(|char| char == UNKNOWN));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        let cases = [
            ("/", None, "/"),
            ("//", None, "/"),
            ("/./", None, "/"),
            ("/tmp/../", None, "/"),
            ("/../..", None, "/"),
            ("\u{F8F3}", None, "\u{F8F3}"),
            ("/home/a/.ssh/id", None, "\u{F8F3}/.ssh/id"),
            ("/root", None, "\u{F8F3}"),
            ("/Users/a/", None, "\u{F8F3}"),
            ("/proc/self/root/etc", None, "/etc"),
            ("/private/etc/x", None, "/etc/x"),
            ("~", None, "~"),
            ("", None, "."),
            ("./a/../b", None, "b"),
            ("../x", None, "../x"),
            ("../x", Some("\u{F8F3}/.ssh"), "\u{F8F3}/x"),
            ("x", Some("/"), "/x"),
            ("\u{F8F3}/..", None, "/home"),
            ("file:///etc/passwd", None, "/etc/passwd"),
        ];
        for (path, directory, expected) in cases {
            assert_eq!(normal(path, directory), expected, "{path:?} {directory:?}");
        }
    }
}
