//! Whole settings files, good and bad.

use std::fs;

use serde_json::json;

use super::*;
use crate::config::{quickstart::quickstart, report::Style, settings::ClientAuth};

const GOOD: &str = "upstreams:\n  - {name: a, url: 'https://api.anthropic.com/v1', dialects: [anthropic_messages]}\n";

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

fn check(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Report> {
    let environment = environment(variables);
    let document = Document::parse("luthien.yaml", text)?;
    Draft::new(document, Path::new("/nowhere"), &[], &environment).finish(&environment)
}

fn report(text: &str, variables: &[(&str, &str)]) -> String {
    check(text, variables).expect_err("problems").to_string()
}

#[test]
fn a_small_file_gets_the_defaults() {
    let loaded = check(GOOD, &[]).expect("settings");
    let settings = loaded.settings;
    assert_eq!(settings.listen, "127.0.0.1:8080");
    assert_eq!(settings.clients.auth, ClientAuth::Passthrough);
    assert_eq!(settings.timeouts.stall.get().as_secs(), 180);
    assert_eq!(settings.upstreams[0].url, "https://api.anthropic.com");
    assert_eq!(settings.upstreams[0].models, ["*"]);
    assert_eq!(settings.rules.file.as_deref(), Some(Path::new("/nowhere/policy.yaml")));
    assert_eq!(loaded.rules, RulesSource::File("/nowhere/policy.yaml".into()));
    assert_eq!(loaded.state, Path::new("/nowhere/.luthien"));
}

#[test]
fn viewers_have_a_token_of_their_own() {
    let settings = |admin: &str| format!("admin: {{ {admin} }}\n{GOOD}");
    let variables = [("A", "one"), ("B", "two"), ("C", "one")];
    let with = |viewer: &str| settings(&format!("token: {{ env: A }}, viewer_token: {{ env: {viewer} }}"));
    check(&with("B"), &variables).expect("settings");
    let same = report(&with("C"), &variables);
    assert!(same.contains("admin.viewer_token: this is the token of admins") && !same.contains("one\n"), "{same}");
    let alone = report(&settings("viewer_token: { env: B }"), &variables);
    assert!(alone.contains("there is a token for viewers and none for admins"), "{alone}");
    assert!(report(&with("ABSENT"), &variables).contains("`ABSENT` is not set"));
}

#[test]
fn the_address_of_a_trace_names_the_call() {
    let settings = |url: &str| format!("admin: {{ trace_url: \"{url}\" }}\n{GOOD}");
    check(&settings("https://grafana.example/explore?call={call_id}"), &[]).expect("settings");
    check(&settings("http://tempo/{trace_id}"), &[]).expect("settings");
    for wrong in ["javascript:alert('{call_id}')", "https://grafana.example/"] {
        let told = report(&settings(wrong), &[]);
        assert!(told.contains("admin.trace_url: this is no address of a call's trace"), "{told}");
    }
}

#[test]
fn ten_mistakes_are_ten_problems() {
    let text = "\
version: 2
lisen: 127.0.0.1:8080
admin: { listen: 0.0.0.0:8081 }
upstreams:
  - name: OpenAI
    url: api.openai.com
    dialects: [openai_chat, openai]
    credentials: { env: NOT_SET }
  - name: anthropic
    dialects: []
    credentials: { vault: x }
clients:
  auth: key
timeouts:
  stall: 180
  total: 5 parsecs
limits: { held: 1MiB }
unpoliced: { pass: [/v1/models] }
log:
";
    insta::assert_snapshot!(report(text, &[]));
}

#[test]
fn semantic_mistakes_are_found_together() {
    let text = "\
listen: 127.0.0.1:9000
admin: { listen: 127.0.0.1:9000, token: { file: no-such-token } }
probe: { listen: nowhere }
extproc: { listen: 'unix:' }
upstreams:
  - { name: a, url: 'http://localhost:9000', dialects: [openai_chat], models: ['gpt-[', '*'] }
  - { name: a, url: 'https://me:hunter2@host', dialects: [openai_chat], credentials: { env: SECRET }, ca: no.pem }
clients:
  auth: keys
  keys:
    - { name: x, env: SECRET }
    - { name: x, env: ABSENT, value_sha256: 0000000000000000000000000000000000000000000000000000000000000000 }
    - { name: y }
    - { name: z, value_sha256: abc }
tls: { cert: cert.pem }
limits: { event: 16MiB, held: 8MiB, held_total: 4MiB }
log: { level: 'luthien=loud' }
";
    let report = report(text, &[("SECRET", "hunter3")]);
    assert!(!report.contains("hunter"), "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn ext_proc_is_open_to_other_machines_only_by_a_certificate_or_by_saying_so() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("x"), "").expect("written");
    let path = folder.path().join("x").display().to_string();
    let with = |extproc: &str| check(&format!("{GOOD}extproc: {{ {} }}\n", extproc.replace('X', &path)), &[]);
    let (tls, envoy) = ("tls: { cert: X, key: X, client_ca: X }", "envoy: { cert: X, key: X, ca: X }");
    for good in [
        "",
        "listen: 'unix:a.sock'",
        "listen: 127.0.0.1:9000",
        "listen: '[::1]:9000'",
        "listen: 0.0.0.0:9000, plaintext: true",
        &format!("listen: 0.0.0.0:9000, {tls}"),
        &format!("listen: 127.0.0.1:9000, {tls}, {envoy}"),
        &format!("listen: 0.0.0.0:9000, {tls}, {}", envoy.replace("{ ", "{ address: luthien:9000, ")),
    ] {
        if let Err(report) = with(good) {
            panic!("{good}: {report}");
        }
    }
    for (extproc, message) in [
        ("listen: 0.0.0.0:9000".to_owned(), "other machines can connect"),
        ("listen: 10.0.0.1:9000, plaintext: false".to_owned(), "plaintext: true"),
        (format!("listen: 0.0.0.0:9000, plaintext: true, {tls}"), "there is `tls` as well"),
        (format!("listen: 'unix:a.sock', {tls}"), "a Unix socket has no TLS"),
        (tls.to_owned(), "a Unix socket has no TLS"),
        (format!("listen: 127.0.0.1:9000, {envoy}"), "only where there is `tls`"),
        (format!("listen: 127.0.0.1:9000, {tls}, {}", envoy.replace("{ ", "{ address: luthien, ")), "no host and port"),
        ("listen: 127.0.0.1:9000, tls: { cert: X, key: X, client_ca: absent }".to_owned(), "cannot be read"),
        ("listen: 127.0.0.1:9000, tls: { cert: X, key: X }".to_owned(), "client_ca"),
        ("listen: ''".to_owned(), "neither a Unix socket nor an address"),
        ("listen: luthien:9000".to_owned(), "neither a Unix socket nor an address"),
    ] {
        let report = with(&extproc).expect_err("a report").to_string();
        assert!(report.contains(message), "{extproc}: {report}");
    }
}

#[test]
fn keys_and_passthrough_must_agree() {
    let with = |clients: &str| check(&format!("{GOOD}clients: {clients}\n"), &[("KEY", "k")]);
    let key = "keys: [{name: a, env: KEY}]";
    assert!(with(&format!("{{auth: either, {key}}}")).is_ok());
    for (clients, message) in [
        ("{auth: keys}".to_owned(), "but there are none"),
        ("{auth: either}".to_owned(), "but there are none"),
        (format!("{{{key}}}"), "never asked for"),
    ] {
        let report = with(&clients).expect_err("a problem").to_string();
        assert!(report.contains(message), "{clients}: {report}");
    }
}

#[test]
fn unions_are_explained() {
    for (credentials, message) in [
        ("passtrough", "did you mean `passthrough`?"),
        ("3", "must be `passthrough`, `{ env: … }` or `{ file: … }`, not a number"),
        ("[]", "must be `passthrough`, `{ env: … }` or `{ file: … }`, not a list"),
        ("{}", "is empty"),
        ("{envv: X}", "did you mean `env`?"),
        ("{env: HOME, file: x}", "more than one of `env` or `file`"),
        ("{env: 3}", "`upstreams[0].credentials.env` must be text, not a number"),
        ("{env: HOME, fil: x}", "unknown key `fil` in `upstreams[0].credentials`"),
        ("", "has no value"),
        ("{REALLY-SECRET-0123}", "has an unknown key, which may be a secret"),
        ("{env: {SECRET-0123: 1}}", "must be text, not a mapping"),
        ("sk-ant-REALLY-SECRET-0123", "value:  [secret]"),
        ("correct horse battery staple", "value:  [secret]"),
    ] {
        let text = GOOD.replace("]}", &format!("], credentials: {credentials}}}"));
        let report = report(&text, &[("HOME", "x")]);
        assert!(report.contains(message), "{credentials}: {report}");
        assert!(!report.contains("SECRET-0123") && !report.contains("battery"), "{report}");
        assert!(!report.contains("any of the schemas"), "{report}");
    }
}

#[test]
fn the_environment_goes_over_the_file() {
    let loaded = check(
        GOOD,
        &[
            ("LUTHIEN_TIMEOUTS_STALL", "9s"),
            ("LUTHIEN_LIMITS_CALLS", "7"),
            ("LUTHIEN_UPSTREAMS", "[{name: b, url: demo, dialects: [openai_chat]}]"),
            ("LUTHIEN_PORT", "1"),
            ("LUTHIEN_ADMIN_PORT", "2"),
            ("LUTHIEN_LOG_LEVEL", ""),
            ("LUTHIEN_LIVE_OPENAI", "1"),
            ("LUTHIEN_TIMEOUT_STALL", "9s"),
            ("LUTHIEN_WHATEVER", "x"),
        ],
    )
    .expect("settings");
    let settings = loaded.settings;
    assert_eq!(settings.timeouts.stall.get().as_secs(), 9);
    assert_eq!((settings.limits.calls, settings.upstreams[0].name.as_str()), (7, "b"));
    assert_eq!((settings.listen.as_str(), settings.admin.listen.as_str()), ("127.0.0.1:1", "127.0.0.1:2"));
    insta::assert_snapshot!(loaded.warnings.join("\n"));
}

#[test]
fn a_mistake_in_a_variable_names_the_variable() {
    insta::assert_snapshot!(report(
        GOOD,
        &[
            ("LUTHIEN_TIMEOUTS_STALL", "9 parsecs"),
            ("LUTHIEN_LIMITS_CALLS", "many"),
            ("LUTHIEN_UPSTREAMS", "[{name: b, url: nowhere, dialects: [openai_chat], modles: []}]"),
            ("LUTHIEN_CLIENTS_KEYS", "[{name: b"),
            ("LUTHIEN_PORT", "http"),
            ("LUTHIEN_TLS_CERT", "x.pem"),
            ("LUTHIEN_ADMIN_TOKEN", "hunter2"),
        ],
    ));
}

#[test]
fn arguments_go_over_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("luthien.yaml");
    fs::write(&file, GOOD).expect("written");
    let argument =
        |value: &str| Override { pointer: "/listen".to_owned(), value: json!(value), argument: "--listen".to_owned() };
    let environment = environment(&[("LUTHIEN_LISTEN", "127.0.0.1:1")]);
    let loaded = load(&file, &[argument("127.0.0.1:2")], &environment).expect("settings");
    assert_eq!(loaded.settings.listen, "127.0.0.1:2");
    assert_eq!((loaded.file.as_path(), loaded.base.as_path()), (file.as_path(), folder.path()));
    let report = load(&file, &[argument("x")], &environment).expect_err("a problem").to_string();
    assert!(report.starts_with("argument --listen: listen: this is not an address"), "{report}");
    let report = load(&folder.path().join("absent"), &[], &environment).expect_err("a problem").to_string();
    assert!(report.contains("cannot be read") && report.contains("check the path"), "{report}");
}

#[test]
fn the_graphical_report_shows_the_line() {
    let report = check("upstreams:\n  - {name: a, url: 'https://u:hunter2@h', dialects: [openai_chat]}\n", &[]);
    let mut out = Vec::new();
    report.expect_err("a problem").render(Style::Graphical, &mut out).expect("written");
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("luthien.yaml:2") && text.contains("//*********@h"), "{text}");
    assert!(!text.contains("hunter2") && text.contains("1 problem"), "{text}");
}

proptest::proptest! {
    /// Whatever is in a file, there are settings or a report that can be shown.
    #[test]
    fn no_text_is_too_strange(text in r"([a-z]{1,3}|upstreams|clients|keys|é|[ \n\t:,&*!|>'{}\[\]#~?0-9-]| *- |: |\n  )*") {
        if let Err(report) = check(&text, &[]) {
            let mut out = Vec::new();
            report.render(Style::Graphical, &mut out).expect("written");
            report.render(Style::Plain, &mut out).expect("written");
            assert!(!report.is_empty() && !out.is_empty());
        }
    }
}

#[test]
fn without_a_file_the_keys_decide() {
    let folder = tempfile::tempdir().expect("a folder");
    let summary = |variables: &[(&str, &str)]| {
        let loaded = quickstart(folder.path(), &[], &environment(variables)).expect("settings");
        let upstreams = loaded.settings.upstreams.iter();
        let line = |credentials: &Credentials| match credentials {
            Credentials::Passthrough => "passthrough".to_owned(),
            Credentials::Secret(SecretSource::Env(name)) => name.clone(),
            Credentials::Secret(SecretSource::File(path)) => path.display().to_string(),
        };
        let upstreams: Vec<String> =
            upstreams.map(|up| format!("{} {} {}", up.name, up.url, line(&up.credentials))).collect();
        (upstreams.join(", "), loaded.rules)
    };
    let (upstreams, rules) = summary(&[]);
    assert_eq!(upstreams, "openai demo passthrough, anthropic demo passthrough");
    assert_eq!(rules, RulesSource::Embedded);
    assert!(rules.read().is_ok());
    fs::create_dir(folder.path().join("config")).expect("a folder");
    fs::write(folder.path().join("config/policy.yaml"), "policies: []\n").expect("written");
    let (upstreams, rules) = summary(&[("OPENAI_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "http://10.0.0.1/v1")]);
    assert_eq!(upstreams, "openai https://api.openai.com OPENAI_API_KEY, anthropic http://10.0.0.1 passthrough");
    assert_eq!(rules, RulesSource::File(folder.path().join("config/policy.yaml")));
    let ours = environment(&[("ANTHROPIC_BASE_URL", "http://localhost:8080")]);
    let report = quickstart(folder.path(), &[], &ours).expect_err("a circle").to_string();
    assert!(report.starts_with("environment variable ANTHROPIC_BASE_URL: upstreams[1].url: this is Luthien's own"));
}

#[test]
fn in_a_file_the_word_quickstart_stands_for_the_same_upstreams() {
    let variables = [("OPENAI_BASE_URL", "http://10.0.0.1"), ("ANTHROPIC_API_KEY", "k")];
    let of_file = check("upstreams: quickstart\n", &variables).expect("settings").settings.upstreams;
    let folder = tempfile::tempdir().expect("a folder");
    let built_in = quickstart(folder.path(), &[], &environment(&variables)).expect("settings").settings.upstreams;
    assert_eq!(serde_json::to_value(&of_file).unwrap(), serde_json::to_value(&built_in).unwrap());
    assert_eq!(of_file[0].url, "http://10.0.0.1");
    // A variable is stronger than the word, and may say it.
    let listed = "[{ name: own, url: 'http://10.0.0.2', dialects: [openai_chat] }]";
    let own = check("upstreams: quickstart\n", &[("LUTHIEN_UPSTREAMS", listed)]).expect("settings").settings.upstreams;
    assert_eq!((own.len(), own[0].name.as_str()), (1, "own"));
    let said = check(&format!("upstreams: {listed}\n"), &[("LUTHIEN_UPSTREAMS", "quickstart")]).expect("settings");
    assert_eq!(said.settings.upstreams[0].url, "demo");
    let report = report("upstreams: quickstrat\n", &[]);
    assert!(report.contains("did you mean `quickstart`?"), "{report}");
}

#[test]
fn missing_rules_say_what_to_do() {
    let report = RulesSource::File("/nowhere/policy.yaml".into()).read().expect_err("a problem").to_string();
    assert!(report.contains("the rules document is missing") && report.contains("policies: []"), "{report}");
}

#[test]
fn a_key_that_everyone_can_spend_is_warned_of() {
    let settings = |listen: &str, clients: &str| {
        format!(
            "listen: {listen}\nclients: {clients}\nupstreams: [{{ name: paid, url: demo, dialects: [openai_chat], \
             credentials: {{ env: PAID_KEY }} }}]\n"
        )
    };
    let keys = "{ auth: keys, keys: [{ name: a, env: A_KEY }] }";
    let warnings = |text: &str| check(text, &[("PAID_KEY", "sk-x"), ("A_KEY", "lk-x")]).expect("settings").warnings;
    assert!(warnings(&settings("127.0.0.1:1", "{ auth: passthrough }")).is_empty());
    assert!(warnings(&settings("0.0.0.0:1", keys)).is_empty());
    let told = warnings(&settings("0.0.0.0:1", "{ auth: passthrough }"));
    assert!(told.len() == 1 && told[0].contains("`paid`"), "{told:?}");
}

#[test]
fn rules_come_from_one_source() {
    let rules = |yaml: &str| check(&format!("{GOOD}rules: {yaml}\n"), &[]).map(|loaded| loaded.rules);
    assert_eq!(rules("other.yaml").expect("a source"), RulesSource::File("/nowhere/other.yaml".into()));
    assert_eq!(rules("{ file: a.yaml }").expect("a source"), RulesSource::File("/nowhere/a.yaml".into()));
    assert_eq!(rules("{ required: true }").expect("a source"), RulesSource::File("/nowhere/policy.yaml".into()));
    assert!(matches!(rules("{ crd: {} }"), Ok(RulesSource::Crd(crd)) if crd.name == "luthien" && !crd.gateway_api));
    assert!(
        matches!(rules("{ config_map: { name: r } }"), Ok(RulesSource::ConfigMap(map)) if map.key == "policy.yaml")
    );
    for (yaml, wrong) in [
        ("{ crd: {}, file: a.yaml }", "rules.crd: the rules come from one source, and here are several"),
        ("{ config_map: {} }", "`rules.config_map` has no `name`"),
        ("{ crd: { gateway: true } }", "unknown key `gateway` in `rules.crd`"),
        ("[a]", "`rules` must be"),
    ] {
        let report = rules(yaml).expect_err("a problem").to_string();
        assert!(report.contains(wrong), "{yaml}: {report}");
    }
    let by_variable = |value: &str| check(GOOD, &[("LUTHIEN_RULES", value)]).expect("settings").rules;
    assert_eq!(by_variable("x.yaml"), RulesSource::File("/nowhere/x.yaml".into()));
    assert!(matches!(by_variable("{ crd: { name: blue } }"), RulesSource::Crd(crd) if crd.name == "blue"));
}

/// Settings of a pod, read where its Secrets are not.
#[test]
fn as_written_settings_need_no_files() {
    let text = "extproc: { listen: \"0.0.0.0:9000\", tls: { cert: /no/tls.crt, key: /no/tls.key, client_ca: /no/ca.crt } }\n\
                upstreams: [{ name: a, url: \"https://api.test\", dialects: [openai_chat], credentials: { file: /no/key } }]\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("luthien.yaml");
    std::fs::write(&file, text).expect("written");
    let read = || draft(&file, &[], &Environment::default()).expect("a document");
    read().finish(&Environment::default()).expect_err("the files are missing");
    let settings = read().as_written().expect("settings");
    assert_eq!(settings.upstreams.first().map(|upstream| upstream.name.as_str()), Some("a"));
    std::fs::write(&file, "upstreams: 3\n").expect("written");
    read().as_written().expect_err("wrong settings");
}
