//! `luthien client-env`: what points a client at the gateway, as lines for a POSIX shell.
//!
//! Nothing of the user's is read but environment variables, and nothing is written: a client is pointed by variables, and
//! Codex by arguments, because it has no variable for that.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;

use super::{Failed, Surroundings};
use crate::config::{
    environment::Environment,
    report::Report,
    routes::Routes,
    settings::{ClientAuth, Credentials, Dialect, Settings, Upstream},
    target::Target,
};

/// Holds the user's key of the gateway, where the gateway has keys.
const KEY: &str = "LUTHIEN_CLIENT_KEY";
/// What a client sends that must have a key where nobody asks for one.
const MADE_UP: &str = "no-key-needed";
/// How long a listener on this machine may take to be connected to.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Print what points a client at the gateway, for `eval "$(luthien client-env NAME)"`
#[derive(Debug, Clone, clap::Args)]
pub struct ClientEnvArgs {
    /// The client.
    #[arg(value_enum, value_name = "NAME")]
    pub client: Client,
    /// The gateway's settings file, `-` for standard input [default: `LUTHIEN_CONFIG`, or the built-in settings].
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the client reaches the gateway, if that is not where it listens, as `https://gateway.example`.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Fail unless the gateway runs on this machine.
    #[arg(long, conflicts_with = "url")]
    pub running: bool,
}

/// A client that can be pointed at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Client {
    /// The coding agent `claude`.
    ClaudeCode,
    /// The coding agent of the same name.
    Codex,
    /// What reads `OPENAI_BASE_URL`, as the SDKs do.
    Openai,
    /// What reads `ANTHROPIC_BASE_URL`, as the SDKs do.
    Anthropic,
}

/// What a client has to send so that its calls are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// Anything: the provider is the demo provider, or the gateway has its key.
    Anything,
    /// The user's own login or key, for the provider.
    Users,
    /// A key of the gateway.
    Gateways,
    /// Both.
    Both,
}

/// What a client needs to know of the gateway.
struct Gateway<'g> {
    url: String,
    login: Login,
    /// Whether the demo provider answers.
    demo: bool,
    /// Whether the provider speaks what the client speaks.
    native: bool,
    environment: &'g Environment,
}

/// Runs `luthien client-env`.
pub fn client_env(args: &ClientEnvArgs, surroundings: Surroundings<'_>, out: &mut dyn Write) -> Result<(), Failed> {
    let (settings, url) = gateways_settings(args, surroundings)?;
    if args.running {
        reach(&settings)?;
    }
    let gateway = Gateway::new(url, &settings, args.client, surroundings.environment);
    Ok(out.write_all(gateway.script(args.client).as_bytes())?)
}

/// The settings, as the gateway sees them: without what this command has put into the shell before. And its base URL.
fn gateways_settings(args: &ClientEnvArgs, surroundings: Surroundings<'_>) -> Result<(Settings, String), Failed> {
    const POINTERS: [&str; 2] = ["ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"];
    const KEYS: [&str; 2] = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"];
    let all = surroundings.environment;
    let without = |ours: &dyn Fn(&str, &str) -> bool| -> Environment {
        all.names().filter_map(|name| Some((name, all.get(name)?))).filter(|(name, value)| !ours(name, value)).collect()
    };
    let read = |environment: &Environment| -> Result<Settings, Report> {
        let draft = super::settings(args.config.as_ref(), &[], Surroundings { environment, ..surroundings })?;
        // Nothing else has to be right: secrets, for one, may be known to the gateway's shell alone.
        Settings::deserialize(&draft.document.value).map_err(|_| draft.report)
    };
    let url = match &args.url {
        Some(url) => given(url)?,
        None => listening(&read(&without(&|name, _| POINTERS.contains(&name)))?)?,
    };
    let ours = |name: &str, value: &str| {
        (POINTERS.contains(&name) && value.trim_end_matches("/v1") == url) || (KEYS.contains(&name) && value == MADE_UP)
    };
    Ok((read(&without(&ours))?, url))
}

/// The base URL on this machine.
fn listening(settings: &Settings) -> Result<String, Failed> {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", near(&settings.listen)?))
}

/// A base URL that the user gave.
fn given(url: &str) -> Result<String, Failed> {
    let wrong = |message: &str, remedy: &str| Failed::Sentence(format!("--url {url}: it {message}; {remedy}"));
    match url.parse() {
        Ok(target @ Target::Http(_)) => Ok(target.to_string()),
        Ok(Target::Demo) => Err(wrong("is not a URL", "write where clients reach the gateway")),
        Err(fault) => Err(wrong(fault.message, "write scheme and host, as https://gateway.example")),
    }
}

/// Where this machine reaches a listener.
fn near(listen: &str) -> Result<SocketAddr, Failed> {
    let mut address: SocketAddr = super::address(listen)?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Ok(address)
}

/// Fails unless both listeners of the gateway accept connections. Both, because port 8080 is a popular one.
fn reach(settings: &Settings) -> Result<(), Failed> {
    for (role, listen) in [("clients", &settings.listen), ("the admin listener", &settings.admin.listen)] {
        let address = near(listen)?;
        TcpStream::connect_timeout(&address, CONNECT_WITHIN).map_err(|error| {
            Failed::Sentence(format!(
                "the gateway does not run: nothing answers at {address} ({role}): {error}; start it in another terminal \
                 with `make run` or `luthien up`, or say with --config or LUTHIEN_CONFIG which settings it has"
            ))
        })?;
    }
    Ok(())
}

impl Client {
    /// Its dialect, and a model that it would ask for.
    fn asks_for(self) -> (Dialect, &'static str) {
        match self {
            Self::ClaudeCode | Self::Anthropic => (Dialect::AnthropicMessages, "claude-sonnet-4-5"),
            Self::Codex | Self::Openai => (Dialect::OpenaiResponses, "gpt-5"),
        }
    }
}

impl<'g> Gateway<'g> {
    fn new(url: String, settings: &Settings, client: Client, environment: &'g Environment) -> Self {
        let (dialect, model) = client.asks_for();
        let choice = Routes::new(&settings.upstreams).choose(dialect, model);
        let upstream = choice.and_then(|choice| settings.upstreams.get(choice.upstream));
        Self {
            url,
            login: upstream.map_or(Login::Anything, |upstream| login(settings.clients.auth, upstream)),
            demo: upstream.is_some_and(is_demo),
            native: choice.is_some_and(|choice| choice.dialect == dialect),
            environment,
        }
    }

    fn script(&self, client: Client) -> String {
        let mut script = Script::default();
        match client {
            Client::ClaudeCode => self.claude_code(&mut script),
            Client::Codex => self.codex(&mut script),
            Client::Openai => self.sdk("OpenAI", "/v1", &mut script),
            Client::Anthropic => self.sdk("Anthropic", "", &mut script),
        }
        script.text
    }

    fn claude_code(&self, script: &mut Script) {
        self.begin("Claude Code", script);
        script.export("ANTHROPIC_BASE_URL", &self.url);
        match self.login {
            Login::Anything => {
                script.line("unset ANTHROPIC_API_KEY");
                script.export("ANTHROPIC_AUTH_TOKEN", MADE_UP);
            }
            Login::Users => {}
            Login::Gateways => {
                script.line("unset ANTHROPIC_API_KEY");
                script.line(&format!("export ANTHROPIC_AUTH_TOKEN=\"${KEY}\""));
            }
            Login::Both => script.line(&format!("export ANTHROPIC_CUSTOM_HEADERS=\"api-key: ${KEY}\"")),
        }
        if self.native && !self.demo {
            script.note("Off by default at any address but Anthropic's own; the gateway passes it on unchanged.");
            script.export("ENABLE_TOOL_SEARCH", "true");
        }
    }

    fn codex(&self, script: &mut Script) {
        self.begin("Codex", script);
        let users = match self.environment.get("OPENAI_API_KEY") {
            Some(_) => "env_key=\"OPENAI_API_KEY\"".to_owned(),
            None => "requires_openai_auth=true".to_owned(),
        };
        let login = match self.login {
            Login::Anything => {
                script.export(KEY, MADE_UP);
                format!("env_key=\"{KEY}\"")
            }
            Login::Gateways => format!("env_key=\"{KEY}\""),
            Login::Users => users,
            Login::Both => format!("{users}, env_http_headers={{\"api-key\"=\"{KEY}\"}}"),
        };
        // A JSON string is a TOML string as well.
        let base_url = serde_json::Value::from(format!("{}/v1", self.url));
        let provider = format!("{{name=\"Luthien\", base_url={base_url}, wire_api=\"responses\", {login}}}");
        let define = quoted(&format!("model_providers.luthien={provider}"));
        script.note("Arguments and no configuration file: `codex` is a function of this shell from here on.");
        script.line(&format!("codex() {{ command codex -c model_provider=luthien -c {define} \"$@\"; }}"));
    }

    /// The variables that a vendor's SDKs read.
    fn sdk(&self, vendor: &str, path: &str, script: &mut Script) {
        self.begin(&format!("{vendor}'s SDKs"), script);
        let prefix = vendor.to_uppercase();
        script.export(&format!("{prefix}_BASE_URL"), &format!("{}{path}", self.url));
        let key = format!("{prefix}_API_KEY");
        match self.login {
            Login::Anything => script.export(&key, MADE_UP),
            Login::Users => script.note(&format!("Set {key} to your key, if it is not set.")),
            Login::Gateways => script.line(&format!("export {key}=\"${KEY}\"")),
            Login::Both => {
                script.note(&format!("Set {key} to your key, and send the header `api-key` with ${KEY} in it"));
                script.note("(`default_headers` in Python, `defaultHeaders` in JavaScript).");
            }
        }
    }

    /// Says whom this is for and what becomes of credentials.
    fn begin(&self, client: &str, script: &mut Script) {
        script.note(&format!("{client} through Luthien at {}.", self.url));
        script.note(match (self.login, self.demo) {
            (Login::Anything, true) => "The demo provider answers. It asks for no key; this one is made up.",
            (Login::Anything, false) => "The gateway has the provider's key. The client only needs one to start.",
            (Login::Users, _) => "Your login or your key goes on to the provider, unchanged.",
            (Login::Gateways, _) => "The gateway asks for a key of its own, and for no other.",
            (Login::Both, _) => {
                "The gateway asks for a key of its own. Your login or your key goes on to the provider."
            }
        });
        script.note("For the shell of the client, not of the gateway.");
        if matches!(self.login, Login::Gateways | Login::Both) {
            script.line(&format!("export {KEY}=\"${{{KEY}:?set it to your key of this gateway}}\""));
        }
    }
}

fn login(auth: ClientAuth, upstream: &Upstream) -> Login {
    let users = !is_demo(upstream) && upstream.credentials == Credentials::Passthrough;
    match (auth, users) {
        (ClientAuth::Passthrough, false) => Login::Anything,
        (ClientAuth::Passthrough | ClientAuth::Either, true) => Login::Users,
        // The provider cannot judge who calls with the gateway's own key.
        (ClientAuth::Either, false) if is_demo(upstream) => Login::Anything,
        (ClientAuth::Keys | ClientAuth::Either, false) => Login::Gateways,
        (ClientAuth::Keys, true) => Login::Both,
    }
}

fn is_demo(upstream: &Upstream) -> bool {
    upstream.url == "demo"
}

/// Lines for a POSIX shell.
#[derive(Default)]
struct Script {
    text: String,
}

impl Script {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn note(&mut self, note: &str) {
        self.line(&format!("# {note}"));
    }

    fn export(&mut self, name: &str, value: &str) {
        self.line(&format!("export {name}={}", quoted(value)));
    }
}

/// `text` as one word, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
