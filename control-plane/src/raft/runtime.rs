//! What openraft runs on: tokio, but for chance, which is handed in like all that is outside.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
use rand::TryRng;
use wire::host::{OsRandom, Random};

thread_local! {
    static CHANCE: RefCell<Arc<dyn Random>> = RefCell::new(Arc::new(OsRandom));
}

/// From now on openraft draws from this on the calling thread, such as how long a follower waits before it asks for
/// votes. It asks a static function, so that all members on one thread share it.
pub fn draw_from(chance: Arc<dyn Random>) {
    CHANCE.with(|held| *held.borrow_mut() = chance);
}

/// Never made: openraft asks the type alone.
#[derive(Debug)]
pub struct Runtime(TokioRuntime);

/// Draws from what was handed in.
pub struct HandedIn;

impl TryRng for HandedIn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|drawn| (drawn >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(CHANCE.with(|chance| chance.borrow().next_u64()))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        for part in into.chunks_mut(8) {
            part.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = HandedIn;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> HandedIn {
        HandedIn
    }

    fn new(threads: usize) -> Self {
        Runtime(TokioRuntime::new(threads))
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use wire::host::SeededRandom;

    use super::*;

    #[test]
    fn what_is_drawn_is_what_was_handed_in() {
        let drawn = || {
            draw_from(Arc::new(SeededRandom::new(7)));
            let mut rng = Runtime::thread_rng();
            let mut bytes = [0; 11];
            let Ok(()) = rng.try_fill_bytes(&mut bytes);
            let Ok(number) = rng.try_next_u32();
            (bytes, number)
        };
        assert_eq!(drawn(), drawn());
        assert_ne!(drawn().0, [0; 11]);
    }
}
