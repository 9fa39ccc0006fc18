//! `luthien doctor`: says what is wrong with an Envoy for LLM traffic through Luthien.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use http::{Uri, uri::Scheme};
use serde_json::{Value, json};

use super::{Failed, Surroundings};
use crate::{
    config::{document::Document, load::Draft, report::Report},
    envoy::{
        Address, AddressError, ask_at_length,
        doctor::{Expected, Finding, NoEnvoy, Severity, examine},
    },
};

/// Says what is wrong with an Envoy configuration for LLM traffic, every problem at once.
///
/// Exit code: 0 nothing is wrong, 1 something is, 2 the configuration cannot be read.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// A bootstrap or a `config_dump`, as YAML or JSON; `-` for standard input; or Envoy's admin interface:
    /// `http://127.0.0.1:19000` or `unix:/run/luthien/envoy-admin.sock`.
    #[arg(value_name = "FILE|-|URL", default_value = "-")]
    pub source: String,
    /// The settings, whose upstreams, clocks and limits Envoy's are held against [default: `LUTHIEN_CONFIG`, or the built-in
    /// clocks and limits].
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The cluster by which Envoy reaches Luthien [default: guessed by its name].
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Warnings count as well.
    #[arg(long)]
    pub strict: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Why a configuration cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("{0}")]
    Document(Report),
    #[error("{0}: {1}")]
    NoEnvoy(String, NoEnvoy),
    #[error("{0}; write Envoy's admin interface as unix:/path/to.sock or http://127.0.0.1:19000")]
    Address(AddressError),
    #[error("`{0}` is not a plain HTTP address; write Envoy's admin interface as http://127.0.0.1:19000")]
    Url(String),
    #[error(
        "Envoy's admin interface at {address} does not answer: {error}; is it the right address, and does Envoy run?"
    )]
    Silent { address: Address, error: io::Error },
    #[error("{address} answered {status} to {what}; this is not Envoy's admin interface")]
    Status { address: Address, what: &'static str, status: u16 },
    #[error("what {address} answered to {what} is not JSON: {error}; this is not Envoy's admin interface")]
    Json { address: Address, what: &'static str, error: serde_json::Error },
}

/// What cannot be read ends with this exit code.
const UNREADABLE: u8 = 2;

/// Runs `luthien doctor` and returns its exit code.
pub async fn doctor(args: &DoctorArgs, surroundings: Surroundings<'_>, out: &mut dyn Write) -> Result<u8, Failed> {
    match look(args, surroundings).await {
        Ok(findings) => {
            print(&findings, args, out)?;
            let counts = |finding: &Finding| args.strict || finding.severity == Severity::Error;
            Ok(u8::from(findings.iter().any(counts)))
        }
        Err(error) => {
            writeln!(io::stderr(), "error: {error}")?;
            Ok(UNREADABLE)
        }
    }
}

async fn look(args: &DoctorArgs, surroundings: Surroundings<'_>) -> Result<Vec<Finding>, Unreadable> {
    let named = args.config.is_some() || surroundings.environment.get("LUTHIEN_CONFIG").is_some();
    let expected = if named {
        let draft = super::settings(args.config.as_ref(), &[], surroundings);
        // Those of a pod are looked at elsewhere, where its Secrets are not.
        let settings = draft.and_then(Draft::as_written).map_err(Unreadable::Document)?;
        Expected::of(&settings, args.cluster.clone())
    } else {
        Expected::unknown(args.cluster.clone())
    };
    let document = read(&args.source, surroundings.folder).await?;
    examine(document, &expected).map_err(|error| Unreadable::NoEnvoy(args.source.clone(), error))
}

async fn read(source: &str, folder: &Path) -> Result<Value, Unreadable> {
    if let Some(address) = admin(source)? {
        return ask(&address).await;
    }
    let path = if source == "-" { PathBuf::from(source) } else { folder.join(source) };
    let document = Document::read(&path).map_err(Unreadable::Document)?;
    let problems = document.report(Vec::new());
    if problems.is_empty() { Ok(document.value) } else { Err(Unreadable::Document(problems)) }
}

/// The admin interface, if `source` is one.
fn admin(source: &str) -> Result<Option<Address>, Unreadable> {
    if source.starts_with("unix:") {
        return source.parse().map(Some).map_err(Unreadable::Address);
    }
    if !source.contains("://") {
        return Ok(None);
    }
    let wrong = || Unreadable::Url(source.to_owned());
    let url: Uri = source.parse().map_err(|_| wrong())?;
    let host = url.host().filter(|_| url.scheme() == Some(&Scheme::HTTP)).ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Some(Address::Socket { host, port: url.port_u16().unwrap_or(80) }))
}

/// Everything that an Envoy that runs says of itself.
async fn ask(address: &Address) -> Result<Value, Unreadable> {
    let mut dump = answer(address, "GET /config_dump?include_eds").await?;
    let info = answer(address, "GET /server_info").await?;
    if let Value::Object(fields) = &mut dump {
        fields.insert("server_info".to_owned(), info);
    }
    Ok(dump)
}

async fn answer(address: &Address, what: &'static str) -> Result<Value, Unreadable> {
    match ask_at_length(address, what).await {
        Ok((200, body)) => {
            serde_json::from_str(&body).map_err(|error| Unreadable::Json { address: address.clone(), what, error })
        }
        Ok((status, _)) => Err(Unreadable::Status { address: address.clone(), what, status }),
        Err(error) => Err(Unreadable::Silent { address: address.clone(), error }),
    }
}

fn print(findings: &[Finding], args: &DoctorArgs, out: &mut dyn Write) -> io::Result<()> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    let source = if args.source == "-" { "standard input" } else { &args.source };
    if args.format == Format::Json {
        let report = json!({ "source": source, "errors": errors, "warnings": warnings, "findings": findings });
        serde_json::to_writer_pretty(&mut *out, &report)?;
        return writeln!(out);
    }
    for Finding { severity, check, place, at, why, remedy } in findings {
        writeln!(out, "{severity}[{check}]: {place}\n  at {at}\n  {why}\n  remedy: {remedy}\n")?;
    }
    match (errors, warnings) {
        (0, 0) => writeln!(out, "ok: {source}: nothing is wrong for LLM traffic through Luthien"),
        _ => writeln!(out, "{source}: {errors} errors, {warnings} warnings; docs/doctor.md says more of each"),
    }
}
