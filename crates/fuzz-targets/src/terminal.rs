//! The console between provider and dispatcher: a terminal that mixes messages with other output.

use dispatcher_api::frames::{Decoder, Direction, LARGEST_MESSAGE, Message, SessionId, encode};

/// Output of a terminal, in pieces. The first byte gives their length.
pub(crate) fn frames(input: &[u8]) {
    let Some((first, shown)) = input.split_first() else { return };
    let mut decoder = Decoder::new(if first % 2 == 0 { Direction::Request } else { Direction::Answer });
    for piece in shown.chunks(usize::from(*first).max(1)) {
        for message in decoder.push(piece) {
            assert!(message.payload.len() <= LARGEST_MESSAGE);
        }
    }
}

/// A message between other lines arrives as it was sent.
pub(crate) fn round_trip(input: &[u8]) {
    let Some((first, payload)) = input.split_first() else { return };
    let message = Message { session: SessionId::random(), number: u32::from(*first), payload: payload.to_vec() };
    let Ok(lines) = encode(Direction::Request, &message) else { return };
    let mut decoder = Decoder::new(Direction::Request);
    let mut shown = decoder.push(b"login: root\r\n");
    for line in lines {
        // The other direction's lines and the terminal's echo are not ours.
        shown.extend(decoder.push(line.replace('>', "<").as_bytes()));
        for piece in line.as_bytes().chunks(usize::from(*first).max(1)) {
            shown.extend(decoder.push(piece));
        }
    }
    assert!(shown == [message]);
}
