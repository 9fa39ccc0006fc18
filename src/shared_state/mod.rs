//! What replicas share for a while, in Redis.
//!
//! Nothing rests on it: what is not there is made anew, and a Redis that is gone costs a call no more than a moment, and the
//! calls behind it nothing for a while. Knows nothing of what is kept.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures::{Stream, StreamExt, future::ready};
use redis::{
    AsyncCommands, Client, ExistenceCheck, IntoConnectionInfo, SetExpiry, SetOptions,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::OnceCell;

/// The longest that a call waits for it.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long it is left alone when it did not answer.
const PAUSE: Duration = Duration::from_secs(5);
/// What every key begins with.
const PREFIX: &str = "luthien:";

/// A Redis.
pub struct SharedState {
    connect: Connect,
    /// Made anew when the password was replaced: the library connects again with the one that it knows.
    connection: ArcSwap<OnceCell<ConnectionManager>>,
    /// When it did not answer.
    failed: Mutex<Option<Instant>>,
}

/// Makes the client, with the password as it is now.
type Connect = Box<dyn Fn() -> Result<Client, String> + Send + Sync>;

/// Where a Redis is.
pub struct Place {
    /// `redis://`, `rediss://` or `redis+unix://`, without a password.
    pub url: String,
    /// The user; none for the default one.
    pub username: Option<String>,
    /// Reads the password.
    pub password: Option<Box<dyn Fn() -> Result<String, String> + Send + Sync>>,
}

impl SharedState {
    /// The Redis at `place`. It is connected to when it is first needed.
    pub fn new(place: Place) -> Self {
        let connect = move || {
            let Place { url, username, password } = &place;
            let mut info = url.as_str().into_connection_info().map_err(|error| error.to_string())?;
            let mut settings = info.redis_settings().clone();
            if let Some(username) = username {
                settings = settings.set_username(username);
            }
            if let Some(read) = password {
                settings = settings.set_password(read()?);
            }
            info = info.set_redis_settings(settings);
            Client::open(info).map_err(|error| error.to_string())
        };
        Self { connect: Box::new(connect), connection: ArcSwap::default(), failed: Mutex::default() }
    }

    /// Connects anew when it is next needed, with the password as it is then.
    pub fn reconnect(&self) {
        self.connection.store(Arc::default());
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What stands under `key`, if it is there and Redis answers.
    pub async fn get(&self, key: &str) -> Option<String> {
        let mut redis = self.connection().await?;
        let got: Result<Option<String>, _> = self.within(redis.get(format!("{PREFIX}{key}"))).await?;
        self.heard(got)?
    }

    /// Keeps `value` under `key` for so long, if Redis answers.
    pub async fn put(&self, key: &str, value: &str, ttl: Duration) {
        let Some(mut redis) = self.connection().await else { return };
        let put = redis.set_ex(format!("{PREFIX}{key}"), value, ttl.as_secs().max(1));
        let Some(put) = self.within(put).await else { return };
        self.heard::<()>(put);
    }

    /// Keeps `value` under `key` for so long, if nothing stands there and Redis answers.
    pub async fn put_new(&self, key: &str, value: &str, ttl: Duration) {
        let Some(mut redis) = self.connection().await else { return };
        let options = SetOptions::default()
            .conditional_set(ExistenceCheck::NX)
            .with_expiration(SetExpiry::EX(ttl.as_secs().max(1)));
        let put = redis.set_options(format!("{PREFIX}{key}"), value, options);
        let Some(put) = self.within(put).await else { return };
        self.heard::<Option<String>>(put);
    }

    /// Tells messages to whoever listens to `channel`. `false`: Redis does not answer, and nobody was told.
    pub async fn publish(&self, channel: &str, messages: &[String]) -> bool {
        let Some(mut redis) = self.connection().await else { return false };
        let mut all = redis::pipe();
        for message in messages {
            all.publish(format!("{PREFIX}{channel}"), message).ignore();
        }
        let told = self.within(all.exec_async(&mut redis)).await;
        told.and_then(|told| self.heard(told)).is_some()
    }

    /// What comes over `channel`, for as long as Redis is there. `None`: it is not.
    pub async fn subscribe(&self, channel: &str) -> Option<impl Stream<Item = String> + use<>> {
        let subscribe = async {
            let client = (self.connect)()?;
            let mut listener = client.get_async_pubsub().await.map_err(|error| error.to_string())?;
            listener.subscribe(format!("{PREFIX}{channel}")).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(listener)
        };
        match self.within(subscribe).await? {
            Ok(listener) => {
                Some(listener.into_on_message().filter_map(|message| ready(message.get_payload::<String>().ok())))
            }
            Err(error) => {
                self.lost(&error);
                None
            }
        }
    }

    async fn connection(&self) -> Option<ConnectionManager> {
        let rests = |failed: Instant| failed.elapsed() < PAUSE;
        if self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(rests) {
            return None;
        }
        let connect = async {
            let client = (self.connect)()?;
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(PATIENCE))
                .set_number_of_retries(1);
            ConnectionManager::new_with_config(client, config).await.map_err(|error| error.to_string())
        };
        let connection = self.connection.load_full();
        let connected = self.within(connection.get_or_try_init(|| connect)).await?;
        match connected {
            Ok(connection) => Some(connection.clone()),
            Err(error) => {
                self.lost(&error);
                None
            }
        }
    }

    /// What comes in time.
    async fn within<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        let came = tokio::time::timeout(PATIENCE, what).await.ok();
        if came.is_none() {
            self.lost("no answer in time");
        }
        came
    }

    fn heard<T>(&self, said: Result<T, redis::RedisError>) -> Option<T> {
        match said {
            Ok(said) => Some(said),
            Err(error) => {
                self.lost(&error.to_string());
                None
            }
        }
    }

    fn lost(&self, error: &str) {
        let before = self.failed.lock().unwrap_or_else(PoisonError::into_inner).replace(Instant::now());
        if before.is_none_or(|before| before.elapsed() >= PAUSE) {
            tracing::warn!(error, "Redis does not answer; this process goes on by itself");
        }
    }
}
