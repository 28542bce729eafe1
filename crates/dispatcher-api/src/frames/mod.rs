//! Messages over a terminal, as lines of printable ASCII that arrive unchanged over a console.
//!
//! A Proxmox VE container console is a terminal that several people may use. A console echoes its input, ends lines
//! with CR LF or CR CR LF, repaints the screen at any time, and detaches at byte 0x1c. A message is therefore sent as
//! numbered chunks, one per line:
//!
//! ```text
//! ~pxci1>0a1b2c3d.7.0/2:<base64>:<first 16 hexadecimal digits of the SHA-256 of everything before>
//! ```
//!
//! `>` marks messages to the dispatcher and `<` messages from it, so an echo is never taken for an answer. Session,
//! message number, and chunk/chunks follow. A line with a wrong checksum is dropped together with its message, which
//! the other side then requests again. A decoder must never fail on any input, and must never hold more than a few
//! messages.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// Longest line in bytes, with its end. A terminal in canonical mode accepts no longer lines.
pub const LONGEST_LINE: usize = 4096;

/// Largest message in bytes.
pub const LARGEST_MESSAGE: usize = 512 * 1024;

const CHUNK: usize = 2048;
const MOST_CHUNKS: usize = LARGEST_MESSAGE / CHUNK;
const MOST_PARTIAL: usize = 4;
const CHECKSUM_DIGITS: usize = 16;

/// Direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the provider to the dispatcher.
    Request,
    /// From the dispatcher to the provider.
    Answer,
}

impl Direction {
    fn marker(self) -> &'static str {
        match self {
            Self::Request => "~pxci1>",
            Self::Answer => "~pxci1<",
        }
    }
}

/// Id that distinguishes the clients of one console: eight random hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u32);

impl SessionId {
    /// Makes a random id.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

/// A complete message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Session of the message.
    pub session: SessionId,
    /// Number of the message in the session. An answer has the number of its request.
    pub number: u32,
    /// Bytes of the message.
    pub payload: Vec<u8>,
}

/// A message is too large to be sent.
#[derive(Debug, thiserror::Error)]
#[error("a console message of {0} bytes is larger than {LARGEST_MESSAGE} bytes")]
pub struct TooLarge(pub usize);

/// Turns a message into lines, each ended by a line feed and at most [`LONGEST_LINE`] bytes long.
///
/// # Errors
/// [`TooLarge`] when its payload exceeds [`LARGEST_MESSAGE`].
pub fn encode(direction: Direction, message: &Message) -> Result<Vec<String>, TooLarge> {
    if message.payload.len() > LARGEST_MESSAGE {
        return Err(TooLarge(message.payload.len()));
    }
    let chunks: Vec<&[u8]> = match message.payload.len() {
        0 => vec![&[]],
        _ => message.payload.chunks(CHUNK).collect(),
    };
    let line = |(index, chunk): (usize, &&[u8])| {
        let head = format!("{}{}.{}.{index}/{}", direction.marker(), message.session, message.number, chunks.len());
        let body = format!("{head}:{}", STANDARD.encode(chunk));
        format!("{body}:{}\n", checksum(&body))
    };
    Ok(chunks.iter().enumerate().map(line).collect())
}

fn checksum(text: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(text.as_bytes()));
    digits.truncate(CHECKSUM_DIGITS);
    digits
}

/// Finds messages of one direction in the bytes of a terminal.
#[derive(Debug)]
pub struct Decoder {
    direction: Direction,
    line: Vec<u8>,
    overlong: bool,
    partial: Vec<Partial>,
}

#[derive(Debug)]
struct Partial {
    session: SessionId,
    number: u32,
    chunks: Vec<Option<Vec<u8>>>,
}

struct Chunk {
    session: SessionId,
    number: u32,
    index: usize,
    count: usize,
    data: Vec<u8>,
}

impl Decoder {
    /// Returns a decoder that only sees messages of this direction.
    #[must_use]
    pub fn new(direction: Direction) -> Self {
        Self { direction, line: Vec::new(), overlong: false, partial: Vec::new() }
    }

    /// Takes the next bytes of the terminal, and returns the messages that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut complete = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => complete.extend(self.end_of_line()),
                _ if self.line.len() < LONGEST_LINE => self.line.push(*byte),
                _ => self.overlong = true,
            }
        }
        complete
    }

    fn end_of_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.overlong) {
            return None;
        }
        let chunk = parse(self.direction, &line)?;
        self.add(chunk)
    }

    fn add(&mut self, chunk: Chunk) -> Option<Message> {
        let place = self.place_for(&chunk);
        let partial = &mut self.partial[place];
        partial.chunks[chunk.index] = Some(chunk.data);
        if partial.chunks.iter().any(Option::is_none) {
            return None;
        }
        let done = self.partial.remove(place);
        let payload = done.chunks.into_iter().flatten().flatten().collect();
        Some(Message { session: done.session, number: done.number, payload })
    }

    /// Returns the index of the message that a chunk belongs to. A new message replaces an unfinished one of its
    /// session. Beyond a few sessions, the oldest message is dropped.
    fn place_for(&mut self, chunk: &Chunk) -> usize {
        let same = |partial: &Partial| partial.session == chunk.session;
        let fits = |partial: &Partial| partial.number == chunk.number && partial.chunks.len() == chunk.count;
        if let Some(place) = self.partial.iter().position(same) {
            if fits(&self.partial[place]) {
                return place;
            }
            self.partial.remove(place);
        }
        if self.partial.len() == MOST_PARTIAL {
            self.partial.remove(0);
        }
        self.partial.push(Partial { session: chunk.session, number: chunk.number, chunks: vec![None; chunk.count] });
        self.partial.len() - 1
    }
}

fn parse(direction: Direction, line: &[u8]) -> Option<Chunk> {
    let text = String::from_utf8_lossy(line);
    // A prompt or an escape sequence may precede the frame on the same line.
    let text = &text[text.rfind(direction.marker())?..];
    let (body, digits) = text.rsplit_once(':')?;
    if checksum(body) != digits {
        return None;
    }
    let (head, data) = body.split_once(':')?;
    let mut fields = head.strip_prefix(direction.marker())?.splitn(3, '.');
    let session = u32::from_str_radix(fields.next()?, 16).ok()?;
    let number = fields.next()?.parse().ok()?;
    let (index, count) = fields.next()?.split_once('/')?;
    let (index, count): (usize, usize) = (index.parse().ok()?, count.parse().ok()?);
    if !(1..=MOST_CHUNKS).contains(&count) || index >= count {
        return None;
    }
    Some(Chunk { session: SessionId(session), number, index, count, data: STANDARD.decode(data).ok()? })
}

#[cfg(test)]
mod tests;
