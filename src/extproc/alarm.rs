//! The timer of one call.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings at a time that moves. Most limits move away with every chunk; so it is set anew only to ring earlier, and looks again
/// when it rings too early.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when it is `due`; never without a time.
    pub(super) fn poll(&mut self, due: Option<Instant>, wakeup: &mut Context<'_>) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if due < sleep.deadline() {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(wakeup));
            if due <= sleep.deadline() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use futures::FutureExt;
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rings(alarm: &mut Alarm, due: Option<Instant>) -> bool {
        poll_fn(|wakeup| alarm.poll(due, wakeup)).now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_it_is_due_and_not_before() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        assert!(!rings(&mut alarm, None));
        assert!(!rings(&mut alarm, Some(start + 3 * SECOND)));
        advance(2 * SECOND).await;
        // Put off, and put off again when the first time comes.
        assert!(!rings(&mut alarm, Some(start + 5 * SECOND)));
        advance(2 * SECOND).await;
        assert!(!rings(&mut alarm, Some(start + 5 * SECOND)));
        advance(2 * SECOND).await;
        assert!(rings(&mut alarm, Some(start + 5 * SECOND)));
        assert!(rings(&mut alarm, Some(start + 5 * SECOND)), "still");
        assert!(!rings(&mut alarm, Some(start + 9 * SECOND)), "it can be set again");
        assert!(!rings(&mut alarm, None));
        assert!(rings(&mut alarm, Some(start)), "the past is due");
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_whoever_waits_at_a_time_that_was_put_off_or_brought_forward() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        for due in [5, 9, 7, 30] {
            let due = start + due * SECOND;
            assert!(!rings(&mut alarm, Some(due + 20 * SECOND)));
            poll_fn(|wakeup| alarm.poll(Some(due.max(Instant::now())), wakeup)).await;
            assert!(Instant::now() >= due && Instant::now() < due + 3 * SECOND);
        }
    }
}
