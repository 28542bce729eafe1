use proptest::prelude::*;

use super::*;

fn message(number: u32, payload: Vec<u8>) -> Message {
    Message { session: SessionId(0x0a1b_2c3d), number, payload }
}

fn text(direction: Direction, message: &Message) -> String {
    encode(direction, message).unwrap().concat()
}

/// Returns a program's output as terminals pass it on: CR before each line feed, twice for two terminals in a row.
fn through_terminals(text: &str, count: usize) -> String {
    text.replace('\n', &format!("{}\n", "\r".repeat(count)))
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(any::<u8>(), CHUNK - 2..CHUNK + 3),
        prop::collection::vec(any::<u8>(), 0..4 * CHUNK),
    ]
}

/// Lines that a console shows besides messages: escapes, prompts, broken frames, any bytes but line ends.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"\x1b[H\x1b[J/ # \x1b[6n".to_vec()),
        Just(b"~pxci1>0a1b2c3d.1.0/1:AAAA:0000000000000000".to_vec()),
        Just(b"~pxci1<0a1b2c3d.1.7/3:".to_vec()),
        Just(vec![b'x'; LONGEST_LINE * 2]),
        prop::collection::vec(any::<u8>().prop_filter("no line ends", |byte| !b"\r\n".contains(byte)), 0..80),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lines_are_short_and_printable(payload in payload(), number: u32) {
        for line in encode(Direction::Request, &message(number, payload)).unwrap() {
            prop_assert!(line.len() <= LONGEST_LINE);
            prop_assert!(line.strip_suffix('\n').unwrap().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        }
    }

    #[test]
    fn messages_survive_any_cutting_and_line_ends(payloads in prop::collection::vec(payload(), 1..4), cuts in 1usize..700, carriage_returns in 0usize..3) {
        let messages: Vec<_> = (1..).zip(payloads).map(|(number, payload)| message(number, payload)).collect();
        let sent: String = messages.iter().map(|message| text(Direction::Answer, message)).collect();
        let sent = through_terminals(&sent, carriage_returns);
        let mut decoder = Decoder::new(Direction::Answer);
        let received: Vec<_> = sent.as_bytes().chunks(cuts).flat_map(|bytes| decoder.push(bytes)).collect();
        prop_assert_eq!(received, messages);
    }

    #[test]
    fn messages_survive_noise_between_lines_and_before_them(payload in payload(), noises in prop::collection::vec(noise(), 1..5)) {
        let message = message(3, payload);
        let mut sent = Vec::new();
        for (line, noise) in encode(Direction::Answer, &message).unwrap().iter().zip(noises.iter().cycle()) {
            sent.extend_from_slice(noise);
            sent.extend_from_slice(b"\r\n$ ");
            sent.extend_from_slice(line.as_bytes());
        }
        prop_assert_eq!(Decoder::new(Direction::Answer).push(&sent), vec![message]);
    }

    #[test]
    fn an_echo_is_never_an_answer(payload in payload()) {
        let request = text(Direction::Request, &message(1, payload));
        prop_assert!(Decoder::new(Direction::Answer).push(through_terminals(&request, 2).as_bytes()).is_empty());
    }

    #[test]
    fn a_changed_byte_never_makes_another_message(payload in payload(), at: prop::sample::Index, to in any::<u8>()) {
        let message = message(9, payload);
        let mut sent = text(Direction::Request, &message).into_bytes();
        let at = at.index(sent.len());
        sent[at] = to;
        for received in Decoder::new(Direction::Request).push(&sent) {
            prop_assert_eq!(&received, &message);
        }
    }

    #[test]
    fn after_a_spoilt_message_the_next_one_arrives(payload in payload(), spoilt in prop::collection::vec(any::<u8>(), 0..6000)) {
        let next = message(2, payload);
        let mut decoder = Decoder::new(Direction::Request);
        decoder.push(&spoilt);
        let received = decoder.push(format!("\n{}", text(Direction::Request, &next)).as_bytes());
        prop_assert_eq!(received, vec![next]);
    }
}

#[test]
fn a_message_with_a_lost_chunk_arrives_when_it_is_sent_again() {
    let first = message(1, vec![7; 3 * CHUNK]);
    let again = Message { number: 2, ..first.clone() };
    let lines = encode(Direction::Request, &first).unwrap();
    let mut decoder = Decoder::new(Direction::Request);
    assert!(decoder.push(lines[0].as_bytes()).is_empty());
    assert!(decoder.push(lines[2].as_bytes()).is_empty());
    assert_eq!(decoder.push(text(Direction::Request, &again).as_bytes()), [again]);
    assert!(decoder.partial.is_empty());
}

#[test]
fn two_sessions_do_not_mix() {
    let one = message(1, vec![1; 2 * CHUNK]);
    let other = Message { session: SessionId(7), number: 1, payload: vec![2; 2 * CHUNK] };
    let (first, second) = (encode(Direction::Request, &one).unwrap(), encode(Direction::Request, &other).unwrap());
    let mut decoder = Decoder::new(Direction::Request);
    let received: Vec<_> =
        [&first[0], &second[0], &second[1], &first[1]].iter().flat_map(|line| decoder.push(line.as_bytes())).collect();
    assert_eq!(received, [other, one]);
}

#[test]
fn unfinished_messages_are_dropped() {
    let mut decoder = Decoder::new(Direction::Request);
    for session in 0..100 {
        let message = Message { session: SessionId(session), number: 1, payload: vec![0; 2 * CHUNK] };
        decoder.push(encode(Direction::Request, &message).unwrap()[0].as_bytes());
    }
    assert_eq!(decoder.partial.len(), MOST_PARTIAL);
}

#[test]
fn an_oversized_message_is_refused() {
    let error = encode(Direction::Request, &message(1, vec![0; LARGEST_MESSAGE + 1])).unwrap_err();
    assert_eq!(error.0, LARGEST_MESSAGE + 1);
}
