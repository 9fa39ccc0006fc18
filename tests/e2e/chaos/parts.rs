//! Everything that takes part, each so that it can be struck and healed alone.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::plan::{Fault, Part, Strike};
use crate::{
    cluster::Server,
    common::postgres::Postgres,
    fakes::{
        collector::Collector,
        link::{Link, Weather},
        provider::Provider,
    },
    harness::{
        SOON,
        client::{Answer, Request, Version, try_send},
        pod::{Container, Pod, Setup},
        process::Process,
        redis::Redis,
        within,
    },
};

/// How rules are kept: as they should be, or so that something passes, which has to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Enforce,
    /// Policies only look on.
    Shadow,
    /// What cannot be judged passes.
    Open,
}

/// The object that has the rules.
const RULES: &str = "chaos";

/// All parts.
pub(super) struct World {
    pub(super) pod: Pod,
    pub(super) provider: Arc<Provider>,
    pub(super) judge: Arc<Provider>,
    postgres: Postgres,
    redis: Redis,
    server: Server,
    _collector: Collector,
    links: Links,
    mode: Mode,
    /// The number that the newest rules put in the place of the marker.
    pub(super) newest: usize,
    /// What the counters of ended processes said was lost.
    lost: u64,
    /// What the present one's said when it was last asked.
    losing: u64,
}

/// The ways to those that are stand-ins.
struct Links {
    provider: Link,
    judge: Link,
    collector: Link,
    server: Link,
}

impl World {
    /// Starts everything.
    pub(super) async fn start(mode: Mode) -> Self {
        let (provider, judge) = (Arc::new(Provider::start().await), Arc::new(Provider::start().await));
        let (collector, server) = (Collector::start().await, Server::double().await);
        let (postgres, redis) = tokio::task::block_in_place(|| (Postgres::start(), Redis::start()));
        let double = server.double.as_ref().expect("it is a double");
        let links = Links {
            provider: Link::to(provider.address()).await,
            judge: Link::to(judge.address()).await,
            collector: Link::to(collector.address()).await,
            server: Link::to(double.address()).await,
        };
        let kubeconfig = fs::read_to_string(&server.kubeconfig).expect("it was written");
        fs::write(&server.kubeconfig, kubeconfig.replace(&double.url(), &links.server.url()))
            .expect("it can be written");
        server.create(RULES, rules(0, mode)).await;
        let setup = Setup {
            upstreams: format!(
                "- {{ name: fake, url: \"{}\", dialects: [openai_chat, openai_responses, anthropic_messages] }}\n\
                 - {{ name: judges, url: \"{}\", dialects: [openai_chat], models: [no-client-asks-for-it] }}\n",
                links.provider.url(),
                links.judge.url(),
            ),
            settings: settings(&links, &postgres, &redis),
            environment: environment(&server),
        };
        let pod = Pod::with(setup).await;
        let world = Self {
            pod,
            provider,
            judge,
            postgres,
            redis,
            server,
            _collector: collector,
            links,
            mode,
            newest: 0,
            lost: 0,
            losing: 0,
        };
        within(SOON, "the start", async { while !world.is_ready().await {} }).await;
        world
    }

    /// Asks the admin listener, which may be away.
    pub(super) async fn ask(&self, path: &str) -> Option<Answer> {
        let asked = async {
            let response = try_send(Version::Http1, self.pod.admin(), Request::new("GET", path)).await.ok()?;
            Some(response.finish().await)
        };
        tokio::time::timeout(Duration::from_secs(10), asked).await.ok().flatten()
    }

    /// Whether both say so.
    pub(super) async fn is_ready(&self) -> bool {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let luthien = self.ask("/readyz").await.is_some_and(|answer| answer.status == 200);
        luthien && self.pod.envoy_is_ready().await
    }

    /// The sum of a metric's series that hold `label`.
    pub(super) async fn metric(&self, name: &str) -> Option<u64> {
        let told = self.ask("/metrics").await?.text();
        let of = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values =
            told.lines().filter(|line| of(line)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
        Some(values.sum::<f64>() as u64)
    }

    /// How many records all processes so far said were lost.
    pub(super) async fn lost(&mut self) -> u64 {
        let mut losing = 0;
        for name in ["luthien_lost_records_total", "luthien_unrecorded_calls_total"] {
            losing += self.metric(name).await.unwrap_or_default();
        }
        self.losing = self.losing.max(losing);
        self.lost + self.losing
    }

    /// Brings other rules, whether or not anybody hears of them.
    pub(super) async fn change_rules(&mut self) {
        self.newest += 1;
        self.server.change(RULES, rules(self.newest, self.mode)).await;
    }

    /// The store takes nothing until it is healed.
    pub(super) async fn hold_commits(&self) {
        process(self.postgres.id()).pause().await;
    }

    /// The store goes on.
    pub(super) fn release_commits(&self) {
        if let Some(process) = Process::of(self.postgres.id()) {
            process.resume();
        }
    }

    /// What happens, happens now: when this returns, it has.
    pub(super) async fn strike(&mut self, Strike { part, fault }: Strike) {
        match part {
            Part::Provider => wreck(&self.links.provider, fault).await,
            Part::Judge => wreck(&self.links.judge, fault).await,
            Part::Collector => wreck(&self.links.collector, fault).await,
            Part::ApiServer => wreck(&self.links.server, fault).await,
            Part::Envoy | Part::Luthien => {
                let container = container(part);
                if part == Part::Luthien {
                    self.lost().await;
                }
                if fault == Fault::Stop {
                    self.pod.process(container).pause().await;
                    return;
                }
                self.pod.kill(container).await;
                if part == Part::Luthien {
                    self.lost += std::mem::take(&mut self.losing);
                }
            }
            Part::Postgres if fault == Fault::Stop => self.hold_commits().await,
            Part::Postgres => {
                process(self.postgres.id()).kill_family();
                tokio::task::block_in_place(|| self.postgres.kill());
            }
            Part::Redis if fault == Fault::Stop => process(self.redis.id()).pause().await,
            Part::Redis => tokio::task::block_in_place(|| self.redis.kill()),
        }
    }

    /// As it was before.
    pub(super) async fn heal(&mut self, Strike { part, fault }: Strike) {
        match part {
            Part::Provider => mend(&self.links.provider, fault).await,
            Part::Judge => mend(&self.links.judge, fault).await,
            Part::Collector => mend(&self.links.collector, fault).await,
            Part::ApiServer => mend(&self.links.server, fault).await,
            Part::Envoy | Part::Luthien if fault == Fault::Stop => self.pod.process(container(part)).resume(),
            Part::Envoy | Part::Luthien => self.pod.revive(container(part)),
            Part::Postgres if fault == Fault::Stop => self.release_commits(),
            Part::Postgres => tokio::task::block_in_place(|| self.postgres.revive()),
            Part::Redis if fault == Fault::Stop => process(self.redis.id()).resume(),
            Part::Redis => tokio::task::block_in_place(|| self.redis.revive()),
        }
    }
}

async fn wreck(link: &Link, fault: Fault) {
    match fault {
        Fault::Kill => link.kill().await,
        Fault::Stop => link.set(Weather::Still),
        Fault::Refuse => link.set(Weather::Refusing),
        Fault::Reset => link.reset(),
        Fault::Slow => link.set(Weather::Slow),
        Fault::Garbage => link.set(Weather::Garbage),
    }
}

async fn mend(link: &Link, fault: Fault) {
    match fault {
        Fault::Kill => link.revive().await,
        Fault::Stop | Fault::Refuse | Fault::Reset | Fault::Slow | Fault::Garbage => link.set(Weather::Fair),
    }
}

fn container(part: Part) -> Container {
    if part == Part::Envoy { Container::Envoy } else { Container::Luthien }
}

fn process(id: i32) -> Process {
    Process::of(id).expect("it runs")
}

fn settings(links: &Links, postgres: &Postgres, redis: &Redis) -> String {
    // Long enough for a machine that is busy with something else; long rounds last longer.
    let clocks = "{ connect: 1s, upload: 10s, first_byte: 10s, first_byte_json: 10s, stall: 10s, total: 25s, hook: 3s, \
                  keepalive: 1s, drain: 2s }";
    format!(
        "rules: {{ crd: {{}} }}\n\
         timeouts: {clocks}\n\
         recording: {{ postgres: {{ url: \"{}\", password: {{ env: PG_PASSWORD }} }} }}\n\
         {}\n\
         remotes: [{{ name: far, protocol: webhook, url: \"{}/hook\", secret: {{ env: REMOTE_SECRET }} }}]\n\
         telemetry: {{ traces: {{ endpoint: \"{}\" }} }}\n",
        postgres.url(),
        redis.settings(),
        links.judge.url(),
        links.collector.url(),
    )
}

fn environment(server: &Server) -> BTreeMap<String, String> {
    let kubeconfig = server.kubeconfig.to_str().expect("a path that is text");
    [
        ("KUBECONFIG", kubeconfig),
        ("POD_NAMESPACE", &server.namespace),
        ("PG_PASSWORD", Postgres::PASSWORD),
        ("REDIS_PASSWORD", Redis::PASSWORD),
        ("REMOTE_SECRET", "shared-with-the-remote"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn rules(number: usize, mode: Mode) -> Value {
    let on_fault = if mode == Mode::Open { "open" } else { "closed" };
    let mode = if mode == Mode::Shadow { "shadow" } else { "enforce" };
    let words = json!({ "replacements": { super::call::MARKER: replacement(number) } });
    let judge = json!({ "judge": { "upstream": "judges", "model": "j-1" } });
    let remote = json!({ "remote": "far", "hooks": ["request"] });
    json!([
        { "name": "asks", "type": "remote", "on_fault": on_fault, "timeout": "10s", "config": remote },
        { "name": "words", "type": "string_replacement", "mode": mode, "config": words },
        { "name": "tools", "type": "tool_filter", "mode": mode, "config": { "deny": [super::call::DENIED] } },
        { "name": "guard", "type": "tool_judge", "mode": mode, "on_fault": on_fault, "timeout": "10s", "config": judge },
    ])
}

/// What stands in the place of the marker.
pub(super) fn replacement(number: usize) -> String {
    format!("redacted-{number}.")
}
