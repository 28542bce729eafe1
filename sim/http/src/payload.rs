//! The body of an answer, which may be incomplete.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Error that cuts a body short on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut short on purpose")]
pub struct CutShort;

impl From<Infallible> for CutShort {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A body with its full length announced, of which only a part may be sent.
#[derive(Debug, Default)]
pub struct Payload {
    announced: u64,
    rest: Option<Bytes>,
    breaks_off: bool,
    /// True after the bytes before the cut had time to be sent.
    flushed: bool,
}

impl Payload {
    /// Returns a complete body.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            announced: bytes.len() as u64,
            rest: Some(bytes).filter(|bytes| !bytes.is_empty()),
            breaks_off: false,
            flushed: false,
        }
    }

    /// Cuts the body after `length` bytes. At least one byte is lost.
    pub fn cut(self, length: usize) -> Self {
        let Some(bytes) = self.rest else { return self };
        let kept = bytes.slice(..length.min(bytes.len() - 1));
        Self { rest: Some(kept).filter(|kept| !kept.is_empty()), breaks_off: true, ..self }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match self.rest.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.breaks_off && !self.flushed => {
                self.flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None if self.breaks_off => Poll::Ready(Some(Err(CutShort))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && !self.breaks_off
    }

    fn size_hint(&self) -> SizeHint {
        // The announced length is unchanged, so that a client detects the cut.
        SizeHint::with_exact(self.announced)
    }
}
