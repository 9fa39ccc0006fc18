//! `luthien test-policy`: runs rules over a recorded answer and shows what becomes of it.

mod play;
mod recording;
mod tell;

use std::{
    fs,
    io::{self, Read, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use self::{play::Plan, recording::Recording};
use super::{
    Failed, Surroundings,
    call::{CallArgs, ID},
};
use crate::{
    config::{
        compile::{Context, compile},
        document::Document,
        routes::Routes,
        settings::Settings,
    },
    dialect::{self, RequestView},
    model::{CallHead, Dialect, Entrance, Request},
    policies::PolicyType,
    policy::Rules,
};

/// Runs rules over a recorded answer, and shows what the client gets.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Without --request and --model, the call asks for the model that the recording names.\n\nExit \
                        code: 0; with --check 1 if a policy changed anything or the call did not go through; 1 on \
                        errors.")]
pub struct TestPolicyArgs {
    /// The rules document.
    #[arg(value_name = "RULES")]
    pub rules: PathBuf,
    /// What a provider answered, an event stream or a JSON body; `-` for standard input.
    #[arg(value_name = "STREAM")]
    pub recording: PathBuf,
    /// The settings file [default: `LUTHIEN_CONFIG`, or the built-in settings].
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The protocol of the recording [default: the one that it is in].
    #[arg(long, value_name = "DIALECT", value_parser = dialect_of)]
    pub dialect: Option<Dialect>,
    /// The protocol of the client, into which the answer is converted [default: that of the recording].
    #[arg(long, value_name = "DIALECT", value_parser = dialect_of)]
    pub client: Option<Dialect>,
    /// The client's request, a JSON body: then request hooks run, too.
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub request: Option<PathBuf>,
    /// The rest of the call.
    #[command(flatten)]
    pub call: CallArgs,
    /// The name of the client's key.
    #[arg(long, value_name = "NAME")]
    pub client_key: Option<String>,
    /// The path of the request [default: where a call of the client's protocol is posted].
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// The upstream that answers [default: the one that the settings give the call].
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// Runs this policy of the rules and no other; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub stage: Vec<String>,
    /// Cuts the recording into chunks of so many bytes [default: one for each event].
    #[arg(long, value_name = "BYTES")]
    pub chunk: Option<NonZeroUsize>,
    /// Ends with exit code 1 if a policy changed anything, or the call was refused or failed.
    #[arg(long)]
    pub check: bool,
}

/// Runs `luthien test-policy` and returns its exit code.
pub async fn test_policy(
    args: &TestPolicyArgs,
    types: &[PolicyType],
    surroundings: Surroundings<'_>,
    is_coloured: bool,
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    let loaded = super::settings(args.config.as_ref(), &[], surroundings)?.finish(surroundings.environment)?;
    let context = Context::of(&loaded.settings, &loaded.base, surroundings.environment);
    let settings = loaded.settings;
    if [Some(&args.rules), Some(&args.recording), args.request.as_ref()]
        .iter()
        .filter(|file| file.is_some_and(is_stdin))
        .count()
        > 1
    {
        return Err(sentence("only one of the files can be `-`, standard input"));
    }
    let file = if is_stdin(&args.rules) { args.rules.clone() } else { surroundings.folder.join(&args.rules) };
    let document = Document::read(&file)?;
    let mut rules = compile(&document, &context, types)?;
    only(&mut rules, &args.stage)?;
    let recording = Recording::of(read(&args.recording, surroundings)?, args.dialect)
        .map_err(|reason| Failed::Sentence(format!("{}: {reason}", args.recording.display())))?;
    let plan = plan(args, &settings, rules, recording, surroundings)?;
    let played = play::play(&plan, args.chunk).await;
    tell::tell(&args.rules, &plan, &played, is_coloured, out)?;
    Ok(u8::from(args.check && played.is_changed))
}

/// What is to be played, by the arguments and the settings.
fn plan<'s>(
    args: &TestPolicyArgs,
    settings: &'s Settings,
    rules: Rules,
    recording: Recording,
    surroundings: Surroundings<'_>,
) -> Result<Plan<'s>, Failed> {
    let client = args.client.unwrap_or(recording.dialect);
    let request = args.request.as_ref().map(|file| read_request(client, file, surroundings)).transpose()?;
    let view = match &request {
        Some((view, ..)) => view.clone(),
        None => RequestView { model: model(args, &recording), stream: recording.is_stream, ..RequestView::default() },
    };
    if client != recording.dialect && view.stream != recording.is_stream {
        let (asked, came) = if view.stream { ("a stream", "none") } else { ("no stream", "one") };
        return Err(Failed::Sentence(format!("the request asks for {asked} and the recording is {came}")));
    }
    let routes = Routes::new(&settings.upstreams);
    let chosen = routes.choose(client.into(), &view.model).and_then(|choice| settings.upstreams.get(choice.upstream));
    let upstream = match &args.upstream {
        Some(name) if settings.upstreams.iter().any(|upstream| upstream.name == *name) => name,
        Some(name) => {
            let known = listed(settings.upstreams.iter().map(|upstream| &*upstream.name));
            return Err(Failed::Sentence(format!("there is no upstream `{name}`; the settings have {known}")));
        }
        None => &chosen.ok_or_else(|| sentence("the settings have no upstream"))?.name,
    };
    let path = args.path.as_deref().unwrap_or(dialect::path(client));
    let call = CallHead {
        entrance: Entrance::default(),
        id: ID.into(),
        dialect: client,
        path: path.split_once('?').map_or(path, |(path, _)| path).to_owned(),
        model: view.model.clone(),
        upstream: upstream.clone(),
        client: args.client_key.clone(),
        session: args.call.session.clone().or_else(|| view.session.clone()),
        headers: args.call.header.clone(),
        stream: view.stream,
        deadline: None,
        trace: None,
    };
    let request = request.map(|(_, body, request)| (body, request));
    Ok(Plan { settings, routes, rules: Arc::new(rules), recording, call: Arc::new(call), view, request })
}

/// Leaves the rules only the policies of these names, if there are any.
fn only(rules: &mut Rules, names: &[String]) -> Result<(), Failed> {
    for name in names {
        if !rules.entries.iter().any(|entry| *entry.name == **name) {
            let known = listed(rules.entries.iter().map(|entry| &*entry.name));
            return Err(Failed::Sentence(format!("there is no policy `{name}`; the rules have {known}")));
        }
    }
    rules.entries.retain(|entry| names.is_empty() || names.iter().any(|name| **name == *entry.name));
    Ok(())
}

/// The model that a client asks for of whom there is no request. Who fetches an answer that was kept names none.
fn model(args: &TestPolicyArgs, recording: &Recording) -> String {
    let fetches = args.path.as_deref().is_some_and(|path| dialect::endpoint("GET", path).is_some());
    match args.call.model.as_str() {
        "" if fetches => String::new(),
        "" => recording.model.clone(),
        model => model.to_owned(),
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn read_request(
    client: Dialect,
    file: &Path,
    surroundings: Surroundings<'_>,
) -> Result<(RequestView, Bytes, Request), Failed> {
    let body = read(file, surroundings)?;
    let (view, request) = dialect::request(client, &body).map_err(|error| {
        Failed::Sentence(format!("{}: {error}; it is read as a request in {}", file.display(), client.name()))
    })?;
    Ok((view, body, request))
}

fn read(file: &Path, surroundings: Surroundings<'_>) -> Result<Bytes, Failed> {
    let read = if is_stdin(file) {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(surroundings.folder.join(file))
    };
    read.map(Bytes::from)
        .map_err(|error| Failed::Sentence(format!("{}: the file cannot be read: {error}", file.display())))
}

fn is_stdin(file: impl AsRef<Path>) -> bool {
    file.as_ref() == Path::new("-")
}

fn sentence(text: &str) -> Failed {
    Failed::Sentence(text.to_owned())
}

fn dialect_of(name: &str) -> Result<Dialect, String> {
    let names = Dialect::ALL.map(Dialect::name).join(", ");
    Dialect::ALL.into_iter().find(|dialect| dialect.name() == name).ok_or_else(|| format!("write one of {names}"))
}

#[cfg(test)]
mod tests;
