//! The body of an answer, which may break off in the middle.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The body is cut short on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut short on purpose")]
pub struct CutShort;

impl From<Infallible> for CutShort {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Bytes, announced in full, of which perhaps not all are sent.
#[derive(Debug, Default)]
pub struct Payload {
    announced: u64,
    rest: Option<Bytes>,
    breaks_off: bool,
    /// The bytes before the break have had time to leave.
    flushed: bool,
}

impl Payload {
    /// Returns a body that arrives whole.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            announced: bytes.len() as u64,
            rest: Some(bytes).filter(|bytes| !bytes.is_empty()),
            breaks_off: false,
            flushed: false,
        }
    }

    /// Ends the connection after `length` bytes of it; at least one byte is lost.
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
        // The announced length stays, so a client notices the break.
        SizeHint::with_exact(self.announced)
    }
}
