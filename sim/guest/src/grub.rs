//! The parts of an installer CD's boot loader that a typed boot command uses: GRUB's menu, its console and its entry
//! editor.
//!
//! An unquoted `;` ends a command in GRUB's console, so a kernel line with an unquoted `ds=nocloud;s=…` loses its end
//! here as it does on real hardware.

/// Default entry of the menu, up to the cursor of the editor.
const ENTRY: &str = "linux /casper/vmlinuz ---";

/// The part of the boot loader that gets the keys.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Menu,
    Console,
    Editor,
    Booted,
}

/// The boot loader of one powered-on machine.
#[derive(Debug, Default)]
pub(super) struct BootLoader {
    place: Place,
    line: String,
    kernel: Option<String>,
}

impl BootLoader {
    /// Presses one key, which has QEMU's name. Returns the kernel's command line once a kernel is booted.
    pub(super) fn press(&mut self, key: &str) -> Option<String> {
        match self.place {
            Place::Menu => self.in_menu(key),
            Place::Console => self.in_console(key),
            Place::Editor => self.in_editor(key),
            Place::Booted => None,
        }
    }

    fn in_menu(&mut self, key: &str) -> Option<String> {
        match key {
            "c" => self.place = Place::Console,
            "e" => {
                self.place = Place::Editor;
                self.line = ENTRY.to_owned();
            }
            "ret" => return self.boot(arguments(ENTRY)),
            _ => {}
        }
        None
    }

    fn in_console(&mut self, key: &str) -> Option<String> {
        if key == "esc" {
            self.place = Place::Menu;
            self.line.clear();
        }
        if key != "ret" {
            self.type_key(key);
            return None;
        }
        for words in commands(&std::mem::take(&mut self.line)) {
            match words.first().map(String::as_str) {
                Some("linux") => self.kernel = Some(words[1..].join(" ")),
                Some("boot") => {
                    if let Some(kernel) = self.kernel.take() {
                        return self.boot(kernel);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn in_editor(&mut self, key: &str) -> Option<String> {
        match key {
            "f10" | "ctrl-x" => {
                let line = arguments(&std::mem::take(&mut self.line));
                return self.boot(line);
            }
            "esc" => {
                self.place = Place::Menu;
                self.line.clear();
            }
            _ => self.type_key(key),
        }
        None
    }

    fn type_key(&mut self, key: &str) {
        if key == "backspace" {
            self.line.pop();
        }
        self.line.extend(character(key));
    }

    fn boot(&mut self, kernel: String) -> Option<String> {
        self.place = Place::Booted;
        Some(kernel)
    }
}

/// Returns the arguments of the first command on a line.
fn arguments(line: &str) -> String {
    commands(line).into_iter().next().map(|words| words[1..].join(" ")).unwrap_or_default()
}

/// Splits a line as GRUB does. Blanks separate words and `;` separates commands, unless they are quoted.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, ' ' | '\t' | ';') => {
                if let (Some(word), Some(command)) = (word.take(), commands.last_mut()) {
                    command.push(word);
                }
                if character == ';' {
                    commands.push(Vec::new());
                }
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    if let (Some(word), Some(command)) = (word, commands.last_mut()) {
        command.push(word);
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// Returns the character of a key on a US keyboard.
fn character(key: &str) -> Option<char> {
    let (shifted, plain) = match key.strip_prefix("shift-") {
        Some(plain) => (true, plain),
        None => (false, key),
    };
    let pair = match plain {
        "spc" => (' ', ' '),
        "minus" => ('-', '_'),
        "equal" => ('=', '+'),
        "bracket_left" => ('[', '{'),
        "bracket_right" => (']', '}'),
        "semicolon" => (';', ':'),
        "apostrophe" => ('\'', '"'),
        "grave_accent" => ('`', '~'),
        "backslash" => ('\\', '|'),
        "comma" => (',', '<'),
        "dot" => ('.', '>'),
        "slash" => ('/', '?'),
        _ => return single(plain, shifted),
    };
    Some(if shifted { pair.1 } else { pair.0 })
}

fn single(key: &str, shifted: bool) -> Option<char> {
    let mut characters = key.chars();
    let (Some(character), None) = (characters.next(), characters.next()) else { return None };
    if !shifted {
        return character.is_ascii_alphanumeric().then_some(character);
    }
    match character {
        'a'..='z' => Some(character.to_ascii_uppercase()),
        '0'..='9' => ")!@#$%^&*(".chars().nth(character as usize - '0' as usize),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{BootLoader, commands};

    fn press_all(loader: &mut BootLoader, keys: &str) -> Option<String> {
        keys.split(' ').find_map(|key| loader.press(key))
    }

    fn type_line(loader: &mut BootLoader, line: &str) -> Option<String> {
        let name = |character: char| match character {
            ' ' => "spc".to_owned(),
            '"' => "shift-apostrophe".to_owned(),
            ';' => "semicolon".to_owned(),
            ':' => "shift-semicolon".to_owned(),
            '=' => "equal".to_owned(),
            '/' => "slash".to_owned(),
            '-' => "minus".to_owned(),
            '.' => "dot".to_owned(),
            'A'..='Z' => format!("shift-{}", character.to_ascii_lowercase()),
            other => other.to_string(),
        };
        for character in line.chars() {
            loader.press(&name(character));
        }
        loader.press("ret")
    }

    #[test]
    fn the_console_boots_the_kernel_that_was_loaded() {
        let mut loader = BootLoader::default();
        loader.press("c");
        assert_eq!(
            type_line(&mut loader, "linux /casper/vmlinuz autoinstall \"ds=nocloud;s=http://127.0.0.1:80/A\" ---"),
            None
        );
        assert_eq!(type_line(&mut loader, "initrd /casper/initrd"), None);
        assert_eq!(
            type_line(&mut loader, "boot").as_deref(),
            Some("/casper/vmlinuz autoinstall ds=nocloud;s=http://127.0.0.1:80/A ---")
        );
        assert_eq!(loader.press("ret"), None, "a booted machine has no boot loader");
    }

    #[test]
    fn an_unquoted_semicolon_ends_the_command() {
        assert_eq!(commands("linux k ds=nocloud;s=http x"), [vec!["linux", "k", "ds=nocloud"], vec!["s=http", "x"]]);
    }

    #[test]
    fn the_editor_appends_to_the_entry() {
        let mut loader = BootLoader::default();
        let kernel = press_all(&mut loader, "e down down end spc a u t o i n s t a l l x backspace f10");
        assert_eq!(kernel.as_deref(), Some("/casper/vmlinuz --- autoinstall"));
    }

    #[test]
    fn the_menu_boots_its_default_entry() {
        assert_eq!(BootLoader::default().press("ret").as_deref(), Some("/casper/vmlinuz ---"));
    }
}
