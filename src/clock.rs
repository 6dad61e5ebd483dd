//! The only file that reads a clock or arms a timer for one.
//!
//! Fires are awaited on an absolute real-time timer that the kernel also trips when the wall clock is set (a
//! `CLOCK_REALTIME` timerfd with `TFD_TIMER_CANCEL_ON_SET`), so nothing polls and a clock change is an event.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::engine::time::{Monotonic, Now, Timestamp};
use crate::failpoint::PACE;
use crate::os::Readable;

/// What a timer is armed for when there is no fire to wait for: it still has to notice that the clock is set.
const FAR_FUTURE: Timestamp = Timestamp::constant(7_258_118_400, 0);

/// Both clocks, and how long the host has slept.
#[must_use]
pub fn now() -> Now {
    let monotonic = read(ClockId::Monotonic);
    let slept = since_boot().saturating_sub(monotonic);
    let (wall, rate) = pace().map_or((wall(), 1), |pace| (pace.shown_at(wall()), pace.rate));
    Now { wall, monotonic: Monotonic::new(monotonic * rate), slept }
}

/// A wall clock that runs at another pace: in a debug build, and only if [`PACE`] says so.
#[derive(Debug)]
struct Pace {
    /// What it shows at `real`.
    shown: Timestamp,
    real: Timestamp,
    rate: u32,
}

fn pace() -> Option<&'static Pace> {
    static READ: OnceLock<Option<Pace>> = OnceLock::new();
    let said = || if cfg!(debug_assertions) { Pace::parse(&std::env::var(PACE).ok()?) } else { None };
    READ.get_or_init(said).as_ref()
}

impl Pace {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(',');
        let mut word = || words.next();
        let (shown, real, rate) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
        Some(Self { shown, real, rate })
    }

    fn shown_at(&self, real: Timestamp) -> Timestamp {
        self.shown + real.duration_since(self.real) * i32::try_from(self.rate).unwrap_or(i32::MAX)
    }

    fn real_at(&self, shown: Timestamp) -> Timestamp {
        self.real + shown.duration_since(self.shown) / i32::try_from(self.rate).unwrap_or(i32::MAX)
    }
}

/// The time since the host booted, sleep included: what the kernel dates processes by.
#[must_use]
pub fn since_boot() -> Duration {
    read(ClockId::Boottime)
}

/// When the host booted, on the wall clock as it is set now.
#[must_use]
pub fn booted_at() -> Timestamp {
    let at = now().wall.saturating_sub(read(ClockId::Boottime)).unwrap_or(Timestamp::UNIX_EPOCH);
    // The two readings lie microseconds apart; whole seconds are what a person compares.
    Timestamp::new(at.as_second(), 0).unwrap_or(at)
}

fn wall() -> Timestamp {
    let time = raw(ClockId::Realtime);
    let nanoseconds = i32::try_from(time.tv_nsec).unwrap_or(0);
    // The kernel keeps its clock within the years that a timestamp has.
    Timestamp::new(time.tv_sec, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn read(clock: ClockId) -> Duration {
    let time = raw(clock);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[expect(clippy::disallowed_methods, reason = "this is the file that reads the clocks")]
fn raw(clock: ClockId) -> Timespec {
    rustix::time::clock_gettime(clock)
}

/// Waits for instants of the wall clock.
#[derive(Debug)]
pub struct WallTimer {
    timer: Readable,
    armed_for: Option<Timestamp>,
}

impl WallTimer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// When the kernel has no timer left for us.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        Ok(Self { timer: Readable::new(timer)?, armed_for: None })
    }

    /// Resolves at the instant, or as soon as the wall clock is set; without an instant, only then. May be dropped and
    /// called again at no loss.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub async fn wait(&mut self, until: Option<Timestamp>) -> io::Result<()> {
        let until = until.unwrap_or(FAR_FUTURE);
        if self.armed_for != Some(until) {
            self.arm(until)?;
            self.armed_for = Some(until);
        }
        let mut expirations = [0; 8];
        let read = self.timer.read_with(|timer| match rustix::io::read(timer, &mut expirations) {
            // This is how a timer tells that the clock was set.
            Err(Errno::CANCELED) => Ok(0),
            read => read.map_err(io::Error::from),
        });
        read.await?;
        self.armed_for = None;
        Ok(())
    }

    fn arm(&self, until: Timestamp) -> io::Result<()> {
        let until = pace().map_or(until, |pace| pace.real_at(until));
        let value = Timespec { tv_sec: until.as_second(), tv_nsec: until.subsec_nanosecond().into() };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: zero, it_value: value };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.timer, flags, &spec) {
            // The clock was set in between; the timer is armed, and has yet to say so.
            Ok(_) | Err(Errno::CANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Resolves at an instant of the monotonic clock; never without one.
pub async fn sleep_until(instant: Option<Monotonic>) {
    match instant {
        Some(instant) => {
            let rate = pace().map_or(1, |pace| pace.rate);
            tokio::time::sleep(instant.since(now().monotonic) / rate).await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_timer_waits_for_its_instant_and_not_for_less() {
        let mut timer = WallTimer::new().unwrap();
        let until = now().wall.saturating_add(Duration::from_millis(20)).unwrap();
        timer.wait(Some(until)).await.unwrap();
        assert!(until <= now().wall);
    }

    #[tokio::test]
    async fn an_instant_that_has_passed_is_no_wait() {
        let mut timer = WallTimer::new().unwrap();
        let never = timer.wait(None);
        assert!(tokio::time::timeout(Duration::from_millis(5), never).await.is_err());
        timer.wait(Some(Timestamp::UNIX_EPOCH + Duration::from_secs(1))).await.unwrap();
    }

    #[test]
    fn the_host_booted_before_now() {
        assert!(booted_at() < now().wall);
    }
}
