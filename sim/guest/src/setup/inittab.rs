//! Getty lines in `/etc/inittab`.

use std::fmt::Write as _;

/// Terminal that is reserved for a graphical screen.
const RESERVED: u32 = 7;

/// Returns the inittab with a getty line for each terminal in place of its old getty lines.
pub(super) fn with_terminals(inittab: &str, terminals: u32) -> String {
    let kept: Vec<&str> = inittab.trim_end_matches('\n').split('\n').filter(|line| !is_getty(line)).collect();
    let mut text = kept.join("\n") + "\n";
    for terminal in (1..=terminals).filter(|terminal| *terminal != RESERVED) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "tty{terminal}::respawn:/sbin/getty 38400 tty{terminal}");
    }
    text
}

/// Returns true if the line has the form `ttyN:LEVEL:ACTION:...getty`.
fn is_getty(line: &str) -> bool {
    let mut fields = line.trim_start().splitn(4, ':');
    let (Some(terminal), Some(level), Some(_action), Some(command)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    let digits = |text: &str| text.chars().all(|character| character.is_ascii_digit());
    let is_terminal = terminal.strip_prefix("tty").is_some_and(|number| !number.is_empty() && digits(number));
    is_terminal && digits(level) && command.contains("getty")
}

#[cfg(test)]
mod tests {
    use super::with_terminals;

    #[test]
    fn getty_lines_are_replaced_and_all_others_stay() {
        let text = "::sysinit:/bin/true\ntty1::respawn:/sbin/getty 9600 tty1\n# tty2\n::respawn:/bin/getty-not\n";
        assert_eq!(
            with_terminals(text, 2),
            "::sysinit:/bin/true\n# tty2\n::respawn:/bin/getty-not\ntty1::respawn:/sbin/getty 38400 tty1\ntty2::respawn:/sbin/getty 38400 tty2\n"
        );
    }

    #[test]
    fn no_getty_runs_on_the_seventh_terminal() {
        assert!(!with_terminals("", 8).contains("tty7"));
        assert!(with_terminals("", 8).contains("tty8"));
    }

    #[test]
    fn an_edited_inittab_stays_the_same() {
        let once = with_terminals("::respawn:/bin/x\n", 2);
        assert_eq!(with_terminals(&once, 2), once);
    }
}
