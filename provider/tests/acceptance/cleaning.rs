//! A test on a real server must leave nothing there, even if it fails.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;

use farm::harness::WorkingDirectory;

/// Waits for `test`. If it panics, destroys the resources in its state, prints the things that `left` still finds, and
/// resumes the panic.
pub(crate) async fn cleaned_up<T>(
    work: &WorkingDirectory,
    left: impl AsyncFn() -> Vec<String>,
    test: impl Future<Output = T>,
) -> T {
    let panic = match caught(test).await {
        Ok(output) => return output,
        Err(panic) => panic,
    };
    eprintln!("the test failed; destroying the resources in its state");
    // A failure of the clean-up must not hide the first failure.
    let cleaning = caught(async {
        match work.try_destroy().await {
            Ok(finished) if finished.status.success() => {}
            Ok(finished) => eprintln!("destroy failed:\n{}", finished.text()),
            Err(error) => eprintln!("destroy failed: {error}"),
        }
        for thing in left().await {
            eprintln!("not removed: {thing}");
        }
    });
    if cleaning.await.is_err() {
        eprintln!("the clean-up failed: check by hand what is left");
    }
    resume_unwind(panic)
}

/// Waits for work, and returns its panic as an error.
async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::{caught, cleaned_up};
    use crate::lab::{Fixture, refused_with_each_core};

    #[tokio::test]
    async fn a_failed_test_destroys_its_resources_and_still_fails() {
        refused_with_each_core(Fixture::Snippet, async |lab| {
            let run = async {
                lab.work.apply().await.expect("apply");
                assert_eq!(lab.volumes(), [""; 0], "this fails");
            };
            let failed = caught(cleaned_up(&lab.work, async || lab.volumes(), run)).await;
            assert!(failed.is_err(), "the failure is hidden");
        })
        .await;
    }
}
