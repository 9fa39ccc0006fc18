//! A run: brings calls to a phase, strikes, heals, and sees that everything works again; at the end, reads all books.

use std::time::{Duration, Instant};

use tokio::{task::JoinSet, time};

use super::{
    call::Call,
    check::{Books, Stored, violations},
    ledger::{Account, Due},
    load::{Client, Load},
    parts::{Mode, World, replacement},
    plan::{Phase, Round},
    report::Report,
};
use crate::common::streams::Dialect;

/// Calls get to their phase within this, or the round has failed.
const ARRIVAL: Duration = Duration::from_secs(20);
/// How long what was struck stays so, if calls wait for it.
const OUTAGE: Duration = Duration::from_millis(1200);
/// How much longer it stays so in a long round: beyond what Envoy and Luthien wait for anything.
const LONG_OUTAGE: Duration = Duration::from_secs(12);
/// Everything works again within this, or it is not healed: longer than any back-off.
const RECOVERY: Duration = Duration::from_mins(1);
/// What is asked again is asked again after this.
const PAUSE: Duration = Duration::from_millis(300);

/// Every kind of call.
const KINDS: [(Dialect, bool); 6] = [
    (Dialect::Anthropic, true),
    (Dialect::Anthropic, false),
    (Dialect::OpenaiChat, true),
    (Dialect::OpenaiChat, false),
    (Dialect::OpenaiResponses, true),
    (Dialect::OpenaiResponses, false),
];

/// A world with clients.
pub(super) struct Run {
    world: World,
    load: Load,
    tasks: JoinSet<()>,
    others: JoinSet<()>,
    report: Report,
    sick: Vec<String>,
}

impl Run {
    pub(super) async fn start(mode: Mode) -> Self {
        let world = World::start(mode).await;
        let load = Load::new(world.pod.listen(), &world.provider, &world.judge);
        let others = load.others();
        Self { world, load, tasks: JoinSet::new(), others, report: Report::default(), sick: Vec::new() }
    }

    /// One round. Whatever it finds is in the books at the end.
    pub(super) async fn round(&mut self, round: &Round) {
        let began = Instant::now();
        if round.phase == Phase::Commit {
            self.world.hold_commits().await;
        }
        let struck = self.struck(round).await;
        // Nobody may hear of them.
        self.world.change_rules().await;
        for strike in &round.strikes {
            self.world.strike(*strike).await;
        }
        if round.interrupts() {
            self.load.due(&struck, Due::Interruption);
        }
        for client in &struck {
            client.call.open.open();
        }
        // Who comes while it lasts.
        let late = self.each(round, |_| {});
        if round.must_succeed() {
            self.load.due(&late, Due::Success);
        }
        if round.must_succeed() || round.phase == Phase::Commit {
            self.load.due(&struck, Due::Success);
        }
        let clients = [struck, late].concat();
        // Those that wait for what was struck go on when it is healed.
        let _ = time::timeout(OUTAGE, ended(&clients)).await;
        if round.is_long {
            time::sleep(LONG_OUTAGE).await;
        }
        let mut healed = round.strikes.clone();
        if round.heals_backwards {
            healed.reverse();
        }
        for strike in healed {
            self.world.heal(strike).await;
        }
        if round.phase == Phase::Commit {
            self.world.release_commits();
        }
        ended(&clients).await;
        self.recovered(round).await;
        self.report.count(round, began.elapsed());
    }

    /// Calls of every dialect, streamed and whole, made ready by `prepare`.
    fn each(&mut self, round: &Round, prepare: impl Fn(&mut Call)) -> Vec<Client> {
        let mut kinds = KINDS;
        fastrand::Rng::with_seed(round.seed).shuffle(&mut kinds);
        let calls = kinds.map(|(dialect, stream)| {
            let mut call = self.load.call(dialect, stream);
            prepare(&mut call);
            self.load.make(call, &mut self.tasks)
        });
        calls.into()
    }

    /// Calls that have come where the phase wants them.
    async fn struck(&mut self, round: &Round) -> Vec<Client> {
        // Those that are in flight are counted by Luthien, which knows of no difference.
        let quiet =
            if round.phase == Phase::Upload { Some(self.load.traffic.clone().write_owned().await) } else { None };
        let clients = self.each(round, |call| call.phase = Some(round.phase));
        let arrived = async {
            for client in &clients {
                arrive(client, round.phase).await;
            }
            if round.phase == Phase::Upload {
                let all = clients.len() as u64;
                while self.world.metric("luthien_calls_in_flight").await.unwrap_or_default() < all {
                    time::sleep(PAUSE / 30).await;
                }
            }
        };
        if time::timeout(ARRIVAL, arrived).await.is_err() {
            let missed: Vec<Account> = clients
                .iter()
                .filter(|client| !client.call.reached.is_open())
                .map(|client| client.account(0))
                .collect();
            self.sick.push(format!("{round}: calls did not get there: {missed:?}"));
        }
        drop(quiet);
        clients
    }

    /// Everything works again: readiness, a call of each kind, and the newest rules.
    async fn recovered(&mut self, round: &Round) {
        let Self { world, load, tasks, sick, .. } = self;
        let deadline = time::Instant::now() + RECOVERY;
        let ready = async { while !world.is_ready().await {} };
        if time::timeout_at(deadline, ready).await.is_err() {
            sick.push(format!("{round}: not ready again"));
            return;
        }
        for (dialect, stream) in KINDS {
            loop {
                let client = load.make(load.call(dialect, stream), tasks);
                client.ended().await;
                let account = client.account(1);
                if account.is_success() {
                    break;
                }
                if time::Instant::now() > deadline {
                    sick.push(format!("{round}: no call succeeds again: {account:?}"));
                    return;
                }
                time::sleep(PAUSE).await;
            }
        }
        world.lost().await;
    }

    /// The newest rules hold, however often nobody heard of the ones before.
    async fn newest_rules(&mut self) {
        let wanted = replacement(self.world.newest);
        let deadline = time::Instant::now() + RECOVERY;
        loop {
            let client = self.load.make(self.load.call(Dialect::Anthropic, true), &mut self.tasks);
            client.ended().await;
            let account = client.account(1);
            if account.said().contains(&wanted) {
                return;
            }
            if time::Instant::now() > deadline {
                self.sick.push(format!("the newest rules do not hold: {account:?}"));
                return;
            }
            time::sleep(PAUSE).await;
        }
    }

    /// Ends the load, and reads everybody's books.
    pub(super) async fn finish(mut self, mode: Mode) -> Report {
        if mode == Mode::Enforce {
            self.newest_rules().await;
        }
        // They end between two calls, and begin no other.
        let quiet = self.load.traffic.clone().write_owned().await;
        self.others.shutdown().await;
        drop(quiet);
        while self.tasks.join_next().await.is_some() {}
        let accounts = self.load.accounts();
        // The store gets what it has missed, however long that takes, as long as more comes.
        let (mut deadline, mut most) = (time::Instant::now() + RECOVERY, 0);
        let books = loop {
            let stored = self.stored().await.unwrap_or_default();
            let over = stored.iter().filter(|stored| stored.outcome.is_some()).count();
            if over > most {
                (deadline, most) = (time::Instant::now() + RECOVERY, over);
            }
            let lost = self.world.lost().await;
            let books = Books { accounts: accounts.clone(), stored, lost, sick: self.sick.clone() };
            let open = books.stored.iter().any(|stored| stored.outcome.is_none());
            if (!open && violations(&books).is_empty()) || time::Instant::now() > deadline || mode != Mode::Enforce {
                break books;
            }
            time::sleep(PAUSE).await;
        };
        self.report.close(&books);
        if mode == Mode::Enforce && !self.report.violations.is_empty() {
            eprintln!("--- what the pod printed ---\n{}", self.world.pod.output());
        }
        self.world.pod.stop().await;
        self.report
    }

    /// Every record; nothing where the store does not answer.
    async fn stored(&self) -> Option<Vec<Stored>> {
        let mut all = Vec::new();
        let mut path = "/debug/calls?limit=500".to_owned();
        loop {
            let answer = self.world.ask(&path).await.filter(|answer| answer.status == 200)?;
            let page = answer.json();
            for call in page["items"].as_array().into_iter().flatten() {
                let word = |key: &str| call[key].as_str().filter(|word| !word.is_empty()).map(str::to_owned);
                let call_id = word("call_id").unwrap_or_default();
                all.push(Stored { call_id, model: word("model"), outcome: word("outcome") });
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/debug/calls?limit=500&cursor={cursor}"),
                None => return Some(all),
            }
        }
    }
}

async fn ended(clients: &[Client]) {
    for client in clients {
        client.ended().await;
    }
}

/// Returns once the call is where the phase wants it.
async fn arrive(client: &Client, phase: Phase) {
    if phase == Phase::Commit {
        return client.ended().await;
    }
    client.call.reached.passed().await;
    // What the provider has sent has come through, where the client may have it.
    if client.call.stream && matches!(phase, Phase::Text | Phase::ToolCall | Phase::End | Phase::Held) {
        client.begun().await;
    }
}
