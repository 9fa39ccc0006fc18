//! What is printed for which settings.

use std::{fs, net::TcpListener, path::Path};

use clap::{Parser, ValueEnum};

use super::*;
use crate::config::report::Style;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ClientEnvArgs,
}

const REAL: &str = "
upstreams:
  - {name: anthropic, url: 'https://api.anthropic.com', dialects: [anthropic_messages]}
  - {name: openai, url: 'https://api.openai.com', dialects: [openai_responses]}
";

/// With a key of ours that only the gateway's environment has.
const OURS: &str = "
upstreams:
  - {name: all, url: 'https://x.example', dialects: [openai_chat], credentials: {env: ONLY_THE_GATEWAY_HAS_IT}}
";

const KEYS: &str = "clients: {auth: keys, keys: [{name: a, env: ONLY_THE_GATEWAY_HAS_IT}]}\n";

fn run(folder: &Path, variables: &[(&str, &str)], arguments: &str) -> Result<String, Failed> {
    let environment: Environment = variables.iter().copied().collect();
    let surroundings = Surroundings { environment: &environment, folder, style: Style::Plain };
    let args = Command::try_parse_from(["client-env"].into_iter().chain(arguments.split_whitespace()));
    let mut out = Vec::new();
    client_env(&args.unwrap_or_else(|error| panic!("{error}")).args, surroundings, &mut out)?;
    Ok(String::from_utf8(out).expect("text"))
}

/// What is printed for `client` with these settings, without the notes.
fn lines(settings: &str, variables: &[(&str, &str)], client: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("luthien.yaml"), settings).expect("written");
    let printed = run(folder.path(), variables, &format!("{client} --config luthien.yaml"));
    let printed = printed.unwrap_or_else(|error| panic!("{client}: {error}\n{settings}"));
    let lines: Vec<&str> = printed.lines().filter(|line| !line.starts_with('#')).collect();
    lines.join("\n")
}

/// The only field of Codex's provider that differs.
fn codex_login(settings: &str, variables: &[(&str, &str)]) -> String {
    let printed = lines(settings, variables, "codex");
    let start =
        "model_providers.luthien={name=\"Luthien\", base_url=\"http://127.0.0.1:8080/v1\", wire_api=\"responses\", ";
    let (_, rest) = printed.split_once(start).unwrap_or_else(|| panic!("{printed}"));
    rest.split_once("}' \"$@\"; }").unwrap_or_else(|| panic!("{printed}")).0.to_owned()
}

#[test]
fn without_settings_the_demo_provider_gets_made_up_keys() {
    let folder = tempfile::tempdir().unwrap();
    let of = |client| run(folder.path(), &[], client).unwrap();
    assert_eq!(
        of("claude-code"),
        "# Claude Code through Luthien at http://127.0.0.1:8080.\n\
         # The demo provider answers. It asks for no key; this one is made up.\n\
         # For the shell of the client, not of the gateway.\n\
         export ANTHROPIC_BASE_URL='http://127.0.0.1:8080'\n\
         unset ANTHROPIC_API_KEY\n\
         export ANTHROPIC_AUTH_TOKEN='no-key-needed'\n"
    );
    assert!(of("codex").contains("export LUTHIEN_CLIENT_KEY='no-key-needed'\n"), "{}", of("codex"));
    assert!(
        of("openai")
            .ends_with("export OPENAI_BASE_URL='http://127.0.0.1:8080/v1'\nexport OPENAI_API_KEY='no-key-needed'\n")
    );
    assert!(
        of("anthropic")
            .ends_with("export ANTHROPIC_BASE_URL='http://127.0.0.1:8080'\nexport ANTHROPIC_API_KEY='no-key-needed'\n")
    );
}

#[test]
fn logins_and_keys_of_the_user_are_left_alone() {
    let claude = "export ANTHROPIC_BASE_URL='http://127.0.0.1:8080'\nexport ENABLE_TOOL_SEARCH='true'";
    assert_eq!(lines(REAL, &[], "claude-code"), claude);
    assert_eq!(lines(REAL, &[], "anthropic"), "export ANTHROPIC_BASE_URL='http://127.0.0.1:8080'");
    assert_eq!(lines(REAL, &[], "openai"), "export OPENAI_BASE_URL='http://127.0.0.1:8080/v1'");
    assert_eq!(codex_login(REAL, &[]), "requires_openai_auth=true");
    // Codex has no way to take a key from the environment but to be told its name.
    assert_eq!(codex_login(REAL, &[("OPENAI_API_KEY", "mine")]), "env_key=\"OPENAI_API_KEY\"");
    // Some who use keys of the gateway may have their own as well.
    let either = format!("{REAL}{}", KEYS.replace("auth: keys", "auth: either"));
    assert_eq!(codex_login(&either, &[]), "requires_openai_auth=true");
}

#[test]
fn where_the_gateway_has_the_providers_key_any_will_do() {
    let claude = lines(OURS, &[], "claude-code");
    assert!(claude.ends_with("unset ANTHROPIC_API_KEY\nexport ANTHROPIC_AUTH_TOKEN='no-key-needed'"), "{claude}");
    assert_eq!(codex_login(OURS, &[]), "env_key=\"LUTHIEN_CLIENT_KEY\"");
}

#[test]
fn a_key_of_the_gateway_is_named_and_never_printed() {
    let demanded = "export LUTHIEN_CLIENT_KEY=\"${LUTHIEN_CLIENT_KEY:?set it to your key of this gateway}\"\n";
    let set = [("LUTHIEN_CLIENT_KEY", "the-key-itself"), ("ONLY_THE_GATEWAY_HAS_IT", "the-key-itself")];
    for auth in ["keys", "either"] {
        let alone = format!("{OURS}{}", KEYS.replace("auth: keys", &format!("auth: {auth}")));
        for (client, last) in [
            ("claude-code", "unset ANTHROPIC_API_KEY\nexport ANTHROPIC_AUTH_TOKEN=\"$LUTHIEN_CLIENT_KEY\""),
            ("anthropic", "export ANTHROPIC_API_KEY=\"$LUTHIEN_CLIENT_KEY\""),
            ("openai", "export OPENAI_API_KEY=\"$LUTHIEN_CLIENT_KEY\""),
        ] {
            let printed = lines(&alone, &set, client);
            assert!(printed.starts_with(demanded) && printed.ends_with(last), "{auth}: {printed}");
            assert!(!printed.contains("the-key-itself"), "{printed}");
        }
        assert_eq!(codex_login(&alone, &set), "env_key=\"LUTHIEN_CLIENT_KEY\"");
    }
}

#[test]
fn a_key_of_the_gateway_goes_beside_the_users_own() {
    let both = format!("{REAL}{KEYS}");
    let claude = lines(&both, &[], "claude-code");
    assert!(claude.contains("\nexport ANTHROPIC_CUSTOM_HEADERS=\"api-key: $LUTHIEN_CLIENT_KEY\"\n"), "{claude}");
    assert!(!claude.contains("ANTHROPIC_AUTH_TOKEN") && !claude.contains("unset"), "{claude}");
    let header = "env_http_headers={\"api-key\"=\"LUTHIEN_CLIENT_KEY\"}";
    assert_eq!(codex_login(&both, &[]), format!("requires_openai_auth=true, {header}"));
    assert!(!lines(&both, &[], "openai").contains("API_KEY="), "{}", lines(&both, &[], "openai"));
}

#[test]
fn a_provider_of_another_vendor_answers_too() {
    let settings = "upstreams: [{name: o, url: 'https://api.openai.com', dialects: [openai_chat]}]";
    // What it cannot carry is not asked for.
    assert_eq!(lines(settings, &[], "claude-code"), "export ANTHROPIC_BASE_URL='http://127.0.0.1:8080'");
}

#[test]
fn the_address_is_one_that_the_client_can_reach() {
    let url = |settings: &str| {
        let printed = lines(&format!("{settings}\n{REAL}"), &[], "anthropic");
        printed.strip_prefix("export ANTHROPIC_BASE_URL=").unwrap().to_owned()
    };
    assert_eq!(url("listen: 0.0.0.0:9000"), "'http://127.0.0.1:9000'");
    assert_eq!(url("listen: '[::]:9000'"), "'http://[::1]:9000'");
    assert_eq!(url("listen: 192.0.2.1:9000\ntls: {cert: c.pem, key: k.pem}"), "'https://192.0.2.1:9000'");
    let folder = tempfile::tempdir().unwrap();
    let at = |url: &str| run(folder.path(), &[], &format!("openai --url {url}"));
    assert!(at("https://gateway.example/team/v1/").unwrap().contains("_URL='https://gateway.example/team/v1'\n"));
    for wrong in ["demo", "gateway.example", "ftp://x", "https://x?y"] {
        let error = at(wrong).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--url {wrong}: it ")), "{error}");
    }
}

#[test]
fn what_is_in_the_shell_already_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ours = [
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8080"),
        ("ANTHROPIC_API_KEY", MADE_UP),
        ("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
        ("OPENAI_API_KEY", MADE_UP),
        ("LUTHIEN_CLIENT_KEY", MADE_UP),
    ];
    for client in Client::value_variants() {
        let name = client.to_possible_value().unwrap().get_name().to_owned();
        let (first, again) = (run(folder.path(), &[], &name).unwrap(), run(folder.path(), &ours, &name).unwrap());
        assert_eq!(again, first);
    }
    let elsewhere = [("OPENAI_BASE_URL", "https://gateway.example/v1"), ("OPENAI_API_KEY", MADE_UP)];
    let again = run(folder.path(), &elsewhere, "openai --url https://gateway.example").unwrap();
    assert!(again.contains("OPENAI_API_KEY='no-key-needed'"), "{again}");
    // Those of a real provider do: the gateway was started with them.
    let theirs = [("ANTHROPIC_BASE_URL", "https://api.anthropic.com")];
    let printed = run(folder.path(), &theirs, "claude-code").unwrap();
    assert!(!printed.contains("ANTHROPIC_AUTH_TOKEN"), "{printed}");
}

#[test]
fn any_value_stays_one_word() {
    assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    let output =
        std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted("a'b\"$(c)\n`"))).output();
    assert_eq!(output.unwrap().stdout, b"a'b\"$(c)\n`");
}

#[test]
fn a_gateway_that_does_not_run_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (clients, admin) = (one.local_addr().unwrap().to_string(), two.local_addr().unwrap().to_string());
    let variables = [("LUTHIEN_LISTEN", clients.as_str()), ("LUTHIEN_ADMIN_LISTEN", admin.as_str())];
    assert!(run(folder.path(), &variables, "codex --running").is_ok());
    // Something else may listen at the port for clients.
    drop(two);
    let error = run(folder.path(), &variables, "codex --running").unwrap_err().to_string();
    assert!(error.contains(&admin) && error.contains("make run") && error.contains("--config"), "{error}");
    assert!(run(folder.path(), &variables, "codex").is_ok());
}
