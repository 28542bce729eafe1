use proptest::prelude::*;

use super::*;
use crate::wire::samples::{any_value, declared};

fn number(text: &str) -> Value {
    Value::Number(Number::parse(text).expect("number"))
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn numbers_arrive_in_every_form() {
    let forms: [(&[u8], &str); 7] = [
        (&[0x05], "5"),
        (&[0xff], "-1"),
        (&[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "18446744073709551615"),
        (&[0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0], "0.5"),
        (&[0xca, 0x3f, 0, 0, 0], "0.5"),
        (b"\xa30.1", "0.1"),
        (b"\xa41e20", "100000000000000000000"),
    ];
    for (bytes, wanted) in forms {
        assert!(decode(bytes, &Type::Number).expect(wanted) == number(wanted), "{wanted}");
    }
}

#[test]
fn fractions_are_written_as_text_and_integers_as_integers() {
    assert_eq!(encode(&number("0.1"), &Type::Number), b"\xa30.1");
    assert_eq!(encode(&number("9007199254740993"), &Type::Number), [0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn text_that_looks_like_a_number_stays_text() {
    assert!(decode(b"\xa30.1", &Type::String).expect("text") == text("0.1"));
}

#[test]
fn every_extension_is_unknown() {
    let plain: &[u8] = &[0xd4, 0, 0];
    let refined: &[u8] = &[0xc7, 3, 12, 0x81, 1, 0xc2];
    for bytes in [plain, refined] {
        for wanted in [Type::String, Type::Number, Type::List(Box::new(Type::Bool))] {
            assert!(decode(bytes, &wanted).expect("read") == Value::Unknown);
        }
    }
    assert_eq!(encode(&Value::Unknown, &Type::String), plain);
}

#[test]
fn null_and_empty_are_distinguished() {
    let list = Type::List(Box::new(Type::String));
    assert_eq!(encode(&Value::Null, &list), [0xc0]);
    assert_eq!(encode(&Value::List(vec![]), &list), [0x90]);
    assert!(decode(&[0x90], &list).expect("list") == Value::List(vec![]));
    assert!(decode(&[0xa0], &Type::String).expect("text") == text(""));
}

#[test]
fn objects_are_complete_and_know_their_attributes() {
    let object = Type::Object([("a".to_owned(), Type::Bool), ("b".to_owned(), Type::Bool)].into());
    let bytes = encode(&Value::Map([("a".to_owned(), Value::Bool(true))].into()), &object);
    assert_eq!(bytes, [0x82, 0xa1, b'a', 0xc3, 0xa1, b'b', 0xc0]);
    let error = decode(&[0x81, 0xa1, b'x', 0xc3], &object).expect_err("undeclared");
    assert_eq!(error.to_string(), "malformed value at \"x\": not declared");
}

#[test]
fn malformed_bytes_are_refused() {
    let list = Type::List(Box::new(Type::String));
    for (bytes, wanted) in [
        (&[][..], &Type::Bool),
        (&[0xc3, 0xc3], &Type::Bool),
        (&[0xdd, 0xff, 0xff, 0xff, 0xff], &list),
        (&[0xdb, 0xff, 0xff, 0xff, 0xff], &Type::String),
        (&[0xa1, 0xff], &Type::String),
        (&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], &Type::Number),
        (&[0xc7, 0xff, 0], &Type::Bool),
    ] {
        assert!(decode(bytes, wanted).is_err(), "{bytes:x?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_encoded_value_is_decoded_again((declared, value) in declared().prop_flat_map(|declared| {
        let value = any_value(&declared);
        (Just(declared), value)
    })) {
        prop_assert!(decode(&encode(&value, &declared), &declared).expect("own bytes") == value);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(declared in declared(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes, &declared);
    }
}
