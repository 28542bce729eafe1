//! Damaged rows and damaged databases.

use super::*;

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_left_alone_and_the_others_are_read() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    let audit = vec![entry("lab-ubuntu-9101-aaaaaa", "armed", State::Idle)];
    ledger.commit(Commit { audit, ..upsert(record(9101, "aaaaaa", "idle")) }).await.unwrap();
    drop(ledger);
    let renamed = record_text(9105, "eeeeee", "idle");
    place
        .database()
        .execute_batch(&format!(
            "INSERT INTO vm VALUES ('lab-ubuntu-9102-bbbbbb', 9102, 1, '{{\"name\":\"half');
             INSERT INTO vm VALUES (CAST(x'ff' AS TEXT), 9103, 0, '{{}}');
             INSERT INTO vm VALUES ('lab-ubuntu-9104-dddddd', 9104, 1, '{renamed}');
             INSERT INTO vm VALUES ('lab-ubuntu-9105-eeeeee', 9199, 1, '{renamed}');
             INSERT INTO lent VALUES ('nobody');
             INSERT INTO boot (template, milliseconds) VALUES (9000, -1);
             INSERT INTO run VALUES (40, 'not an id');
             INSERT INTO clock VALUES (1, 'noon', 'noon', 1, NULL);"
        ))
        .unwrap();

    let opened = place.open(2);
    assert_eq!(names(&opened.records), ["lab-ubuntu-9101-aaaaaa"]);
    let unreadable = [
        "lab-ubuntu-9102-bbbbbb",
        "lab-ubuntu-9104-dddddd",
        "lab-ubuntu-9105-eeeeee",
        "\u{fffd}",
        "boot",
        "nobody",
        "run not an id",
        "clock",
    ];
    assert_eq!(opened.unreadable, unreadable);
    assert_eq!((opened.run.counter, opened.runs.len(), opened.clock), (41, 1, None));
    assert_eq!(opened.ledger.audit_of(&name("lab-ubuntu-9101-aaaaaa")).await.unwrap().len(), 1);

    let occupied = opened.ledger.commit(upsert(record(9102, "cccccc", "reserved"))).await;
    assert!(matches!(occupied, Err(LedgerError::Occupied { .. })), "an unreadable live record keeps its VMID");
    let forgotten = vec![name("lab-ubuntu-9102-bbbbbb")];
    opened.ledger.commit(Commit { forgotten, ..upsert(record(9102, "cccccc", "reserved")) }).await.unwrap();
    drop(opened.ledger);
    assert_eq!(place.open(3).unreadable, unreadable[1..]);
}

#[test]
fn a_database_that_is_damaged_as_a_whole_is_put_aside() {
    let place = Place::new();
    std::fs::write(&place.path, vec![b'x'; 8192]).unwrap();
    let opened = place.open(1);
    assert!(opened.was_empty);
    assert_eq!(opened.run.counter, 1);
    assert_eq!(std::fs::read(place.beside("damaged")).unwrap(), vec![b'x'; 8192]);
}

#[tokio::test]
async fn a_database_with_damaged_pages_is_put_aside() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    ledger.commit(upsert(record(9101, "aaaaaa", "idle"))).await.unwrap();
    drop(ledger);
    let mut bytes = std::fs::read(&place.path).unwrap();
    // The first page, with the header and the list of tables, stays.
    bytes[4096..].fill(0xa5);
    std::fs::write(&place.path, &bytes).unwrap();
    let opened = place.open(2);
    assert!(opened.was_empty && opened.records.is_empty());
    assert_eq!(std::fs::read(place.beside("damaged")).unwrap().len(), bytes.len());
}
