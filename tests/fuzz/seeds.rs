//! Where fuzzing begins: the hand-made streams, requests and documents of the repository, and what was recorded of real
//! providers and clients, where there is any.

use std::{fs, path::Path};

use luthien::{
    dialect::Transcript,
    model::Dialect,
    policies::remote::v1::{self, decision::Decision as Decided, hook::Hook as Kind},
    wire::Framer,
};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    common::streams::repository,
    core::{
        random::lot,
        support::{LIMITS, Stream, streams},
    },
};

/// An input to begin with.
#[derive(Debug, Clone)]
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
    /// It stands in the repository, and is there everywhere.
    pub is_committed: bool,
}

impl Seed {
    /// A seed whose first bytes choose something by its name.
    fn new(name: &str, chooses: usize, rest: impl AsRef<[u8]>) -> Self {
        let mut bytes: Vec<u8> = (0..chooses).map(|at| lot((name, at)).to_le_bytes()[0]).collect();
        bytes.extend_from_slice(rest.as_ref());
        Self { name: name.to_owned(), bytes, is_committed: true }
    }

    fn of(stream: &Stream, chooses: usize, rest: impl AsRef<[u8]>) -> Self {
        Self { is_committed: stream.class.is_some(), ..Self::new(&stream.name, chooses, rest) }
    }

    /// The same with another first byte.
    fn choosing(mut self, first: u8) -> Self {
        if let Some(byte) = self.bytes.first_mut() {
            *byte = first;
        }
        self
    }
}

pub fn framer() -> Vec<Seed> {
    streams().iter().map(|stream| Seed::of(stream, 1, &stream.body)).collect()
}

pub fn anthropic() -> Vec<Seed> {
    of_dialect(Dialect::AnthropicMessages)
}

pub fn openai_chat() -> Vec<Seed> {
    of_dialect(Dialect::OpenaiChat)
}

pub fn openai_responses() -> Vec<Seed> {
    of_dialect(Dialect::OpenaiResponses)
}

fn of_dialect(dialect: Dialect) -> Vec<Seed> {
    let all = streams();
    all.iter().filter(|stream| stream.dialect == dialect).map(|stream| Seed::of(stream, 3, &stream.body)).collect()
}

/// The streams as the bodies that SDKs make of them.
pub fn bodies() -> Vec<Seed> {
    let all = streams();
    let seed = |stream: &Stream| Some(Seed::of(stream, 3, body(stream)?).choosing(number(stream.dialect)));
    all.iter().filter_map(seed).collect()
}

fn body(stream: &Stream) -> Option<Vec<u8>> {
    let mut transcript = Transcript::stream(stream.dialect, LIMITS.body, false);
    transcript.push(&stream.body);
    transcript.finish().0.map(|said| said.to_string().into_bytes())
}

fn number(dialect: Dialect) -> u8 {
    let at = Dialect::ALL.iter().position(|known| *known == dialect);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
}

/// Streams and bodies, each towards both other dialects.
pub fn answers() -> Vec<Seed> {
    let mut out = Vec::new();
    for stream in streams() {
        let from = number(stream.dialect);
        for to in (0..3).filter(|to| *to != from) {
            let seed = |form: u8, rest: &[u8]| {
                let mut seed = Seed::of(&stream, 4, rest).choosing(from + 3 * to);
                seed.name = format!("{} to {to} {form}", seed.name);
                seed.bytes[3] = form;
                seed
            };
            out.push(seed(2 * to, &stream.body));
            out.extend(body(&stream).map(|body| seed(1, &body)));
        }
    }
    out
}

pub fn requests() -> Vec<Seed> {
    let mut out = Vec::new();
    for (name, text) in files(&repository().join("tests/it/convert/cases"), "json") {
        let case: Value = serde_json::from_str(&text).expect("a case is JSON");
        let from =
            Dialect::ALL.into_iter().find(|dialect| case["from"] == dialect.name()).expect("a case has a dialect");
        out.push(Seed::new(&name, 2, case["request"].to_string()).choosing(number(from)));
    }
    let Some(root) = std::env::var_os("LUTHIEN_CLIENTS_DIR") else {
        eprintln!("SKIPPED: requests of real clients are read only where LUTHIEN_CLIENTS_DIR is set");
        return out;
    };
    for (name, text) in files(Path::new(&root), "json") {
        let sent: Value = serde_json::from_str(&text).expect("a recording is JSON");
        let path = sent["path"].as_str().unwrap_or_default();
        let dialect = match path {
            path if path.contains("messages") => Dialect::AnthropicMessages,
            path if path.contains("chat") => Dialect::OpenaiChat,
            _ => Dialect::OpenaiResponses,
        };
        let body = sent["body"].as_str().map_or_else(|| sent["body"].to_string(), str::to_owned);
        out.push(Seed { is_committed: false, ..Seed::new(&name, 2, body).choosing(number(dialect)) });
    }
    out
}

const RULES: [&str; 4] = [
    "policies: []\n",
    "version: 1\nrelease: turn\nlossy: drop\nstateful: refuse\nrecord: { level: metadata }\npolicies:\n  - name: a\n    type: uppercase\n    \
     mode: shadow\n    on_fault: open\n    timeout: 90s\n    match: { models: ['claude-*'], paths: [/v1/messages], \
     headers: { x-team: '^a+$' }, clients: ['team-?'], upstreams: [openai], dialects: [openai_chat], \
     when: 'call.stream && call.model.startsWith(\"c\")' }\n",
    "a: &a [1, 2]\npolicies: *a\n? [b]\n: c\n<<: *a\n",
    "policies:\n- name: é\n  type: string_replacement\n  config: {replacements: {é: \"\\u0041\"}, \
     match_capitalization: true}\n- name: é\n  type: nothing\n",
];

pub fn rules() -> Vec<Seed> {
    let made = RULES.iter().enumerate().map(|(number, text)| Seed::new(&format!("made-{number}"), 0, text));
    files(&repository().join("config/examples"), "yaml")
        .into_iter()
        .map(|(name, text)| Seed::new(&name, 0, text))
        .chain(made)
        .collect()
}

pub fn settings() -> Vec<Seed> {
    let found = files(&repository().join("config"), "yaml");
    let mut seeds: Vec<Seed> = found.into_iter().map(|(name, text)| Seed::new(&name, 1, text)).collect();
    seeds.push(Seed::new("quickstart", 1, "upstreams: quickstart\n"));
    seeds.push(Seed::new(
        "remotes",
        1,
        "listen: 127.0.0.1:0\nupstreams:\n- {name: a, dialect: anthropic_messages, url: 'https://a.test/v1', \
         credentials: {env: A}, models: {b: c}}\nremotes:\n- {name: r, grpc: 'http://127.0.0.1:1'}\ntimeouts: {stall: 1s}\n",
    ));
    seeds
}

pub fn kubernetes() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, text) in files(&repository().join("config/examples"), "yaml") {
        let below = text.replace('\n', "\n  ");
        let object = format!(
            "apiVersion: luthien.dev/v1alpha1\nkind: LuthienPolicy\nmetadata: {{ name: a, namespace: n }}\nspec:\n  \
             targetRefs: [{{ group: '', kind: Service, name: s }}]\n  priority: 7\n  {below}"
        );
        seeds.push(Seed::new(&name, 1, object).choosing(1));
    }
    let target = json!([{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r" }]);
    let policies = json!([{ "name": "a", "type": "uppercase", "match": { "when": "call.stream" } }]);
    let kept = json!([{ "namespace": "n", "name": "a", "uid": "1", "generation": 2, "created": "2026-01-01T00:00:00Z",
        "spec": { "targetRefs": target, "priority": -1, "policies": policies } }]);
    seeds.push(Seed::new("kept", 1, kept.to_string()).choosing(0));
    seeds
}

pub fn remote() -> Vec<Seed> {
    let block = |kind: &str| v1::Block {
        block: 3,
        kind: kind.to_owned(),
        text: "{\"a\": 1}".to_owned(),
        id: "call_1".to_owned(),
        tool: "rm".to_owned(),
        choice: 1,
        complete: true,
    };
    let blocks = v1::Blocks { blocks: vec![block("text"), block("tool_call"), block("thinking")] };
    let texts = vec![v1::TextEdit { index: 1, text: "é😀".to_owned() }];
    let decisions = [
        Decided::Keep(v1::Keep {}),
        Decided::Refuse(v1::Refuse { message: "no".to_owned(), polite: true }),
        Decided::Edit(v1::RequestEdit { model: Some("m".to_owned()), texts }),
        Decided::Answer(blocks.clone()),
        Decided::Replace(blocks.clone()),
        Decided::Append(blocks),
    ];
    let mut seeds = Vec::new();
    for (number, decision) in decisions.into_iter().enumerate() {
        let fields = [("k".to_owned(), "v".to_owned())].into();
        let events = vec![v1::Event { name: "e".to_owned(), fields }];
        let decision = v1::Decision { sequence: 7, events, decision: Some(decision) };
        push_both(&mut seeds, &format!("decision-{number}"), &decision);
    }
    let call =
        v1::Call { id: "c".to_owned(), model: "m".to_owned(), client: Some("t".to_owned()), ..v1::Call::default() };
    let hooks = [
        Kind::Block(block("text")),
        Kind::BlockDelta(v1::BlockDelta { block: 1, text: "t".to_owned() }),
        Kind::ResponseEnd(v1::ResponseEnd { reason: "end_turn".to_owned() }),
    ];
    for (number, hook) in hooks.into_iter().enumerate() {
        let hook = v1::Hook { sequence: 1, call: Some(call.clone()), hook: Some(hook) };
        push_both(&mut seeds, &format!("hook-{number}"), &hook);
    }
    seeds
}

fn push_both<M: Message + serde::Serialize>(seeds: &mut Vec<Seed>, name: &str, message: &M) {
    seeds.push(Seed::new(&format!("{name}-protobuf"), 1, message.encode_to_vec()).choosing(0));
    let json = serde_json::to_vec(message).expect("a message is JSON");
    seeds.push(Seed::new(&format!("{name}-json"), 1, json).choosing(1));
}

const EXPRESSIONS: [&str; 12] = [
    "call.stream",
    "call.model == \"gpt-5\" || call.model.startsWith('claude-') && !call.stream",
    "call.client != null && call.client in ['a', 'b', \"c\"]",
    "call.headers['x-team'].matches('^a.*b$')",
    "has(call.headers.x) ? call.path.size() > 3 : false",
    "call.upstream.contains(call.dialect) == (1 + 2 * 3 % 4 - -5 >= 6)",
    "call.headers.exists(h, h == 'a') && call.headers.all(h, h != '')",
    "[1, 2.0, 3u, true, null, b'a', {'k': 1}].map(x, string(x)).filter(x, x != '1').size() < 9",
    "timestamp('2026-01-01T00:00:00Z') < timestamp('2027-01-01T00:00:00Z') && duration('1h') > duration('1m')",
    "int(call.session) / 0 == 1 || double('x') > 1.0 || uint('1') == 1u",
    "((((((((((call.stream))))))))))",
    "call.id == r'\\d' + \"\\u0041\" + '''x''' // comment",
];

pub fn cel() -> Vec<Seed> {
    EXPRESSIONS.iter().enumerate().map(|(number, text)| Seed::new(&number.to_string(), 0, text)).collect()
}

/// The commands of the table, and arguments in the forms of the agents.
pub fn shell() -> Vec<Seed> {
    let table = repository().join("tests/it/policies/command_guard/commands.yaml");
    let table = fs::read_to_string(&table).unwrap_or_else(|error| panic!("{}: {error}", table.display()));
    // All of them have a test of their own.
    let commands = table.lines().filter_map(|line| line.strip_prefix("  ")).step_by(4).enumerate();
    let mut seeds: Vec<Seed> =
        commands.map(|(number, command)| Seed::new(&number.to_string(), 1, command.trim()).choosing(1)).collect();
    for (number, arguments) in [
        json!({ "command": ["bash", "-lc", "rm -rf / && ls"], "workdir": "/tmp" }),
        json!({ "cmd": "ls", "command": "curl x | sh", "timeout": 1 }),
        json!({ "commands": ["cd /", "rm -rf *"] }),
        json!({ "script": { "command": ["ls"] } }),
    ]
    .into_iter()
    .enumerate()
    {
        seeds.push(Seed::new(&format!("arguments-{number}"), 1, arguments.to_string()).choosing(0));
    }
    seeds
}

/// The data of every event, and some documents with what is odd.
pub fn json() -> Vec<Seed> {
    let odd = [
        r#" {"a" : [1, {"b":"x\"}]"}, -1.0e3 ] , "n":null,"a2":true, "\u0061":2, "":{},"e":[]} "#,
        r#"["\ud83d\ude00","\ud83d","é\u2028\\\"",9007199254740993,1e400,-0.0,[[[[]]]]]"#,
    ];
    let mut seeds: Vec<Seed> =
        odd.iter().enumerate().map(|(number, text)| Seed::new(&format!("odd-{number}"), 1, text)).collect();
    for stream in streams().iter().filter(|stream| stream.class.is_some()) {
        let mut frames = Vec::new();
        let _ = Framer::new(LIMITS.event).push(&stream.body, &mut frames);
        let data = frames.iter().filter_map(luthien::wire::Frame::data);
        seeds.extend(data.take(6).enumerate().map(|(at, data)| {
            let name = format!("{} {at}", stream.name);
            Seed::new(&name, 1, data)
        }));
    }
    seeds
}

pub fn spool() -> Vec<Seed> {
    (0..8_u8).map(|number| Seed::new(&number.to_string(), 1 + 3 * usize::from(number), []).choosing(number)).collect()
}

/// The files of a folder with that ending, in the order of their names.
fn files(folder: &Path, ending: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == ending));
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), text)
    };
    files.iter().map(read).collect()
}
