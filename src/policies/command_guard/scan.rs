//! Moving over the text of a word: quotes, escapes and brackets.

use super::parse::Unreadable;

/// A place in a text.
pub(super) struct Scan<'a> {
    chars: &'a [char],
    pub(super) at: usize,
    /// Between double quotes, where a single quote is a letter like others.
    double: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(chars: &'a [char], at: usize) -> Self {
        Self { chars, at, double: false }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn take(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += 1;
        Some(char)
    }

    pub(super) fn take_while(&mut self, test: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(char) = self.peek().filter(|char| test(*char)) {
            taken.push(char);
            self.at += 1;
        }
        taken
    }

    /// What stands up to `end`, and moves behind the character there.
    pub(super) fn take_until(&mut self, end: usize) -> String {
        let taken = self.chars.get(self.at..end).unwrap_or_default().iter().collect();
        self.at = end + 1;
        taken
    }

    /// Moves over one character, or over everything that is quoted or expanded together.
    pub(super) fn skip_unit(&mut self) -> Result<(), Unreadable> {
        let before = self.at.checked_sub(1).and_then(|at| self.chars.get(at)).copied();
        match (self.take(), self.peek()) {
            (Some('\\'), _) => self.at += 1,
            (Some('\''), _) if self.double => {}
            (Some('\''), _) if before == Some('$') => self.skip_ansi()?,
            (Some('\''), _) => self.skip_to('\'')?,
            (Some('"'), _) => self.skip_double()?,
            (Some('`'), _) => self.skip_backquoted()?,
            (Some('$'), Some('(')) => self.at = close_of(self.chars, self.at + 1, '(', ')')? + 1,
            (Some('$'), Some('{')) => self.at = close_of_parameter(self.chars, self.at + 1, self.double)? + 1,
            _ => {}
        }
        Ok(())
    }

    fn skip_to(&mut self, end: char) -> Result<(), Unreadable> {
        while let Some(char) = self.take() {
            if char == end {
                return Ok(());
            }
        }
        Err(Unreadable::Syntax)
    }

    fn skip_ansi(&mut self) -> Result<(), Unreadable> {
        while let Some(char) = self.take() {
            match char {
                '\\' => self.at += 1,
                '\'' => return Ok(()),
                _ => {}
            }
        }
        Err(Unreadable::Syntax)
    }

    pub(super) fn skip_backquoted(&mut self) -> Result<(), Unreadable> {
        while let Some(char) = self.take() {
            match char {
                '\\' => self.at += 1,
                '`' => return Ok(()),
                _ => {}
            }
        }
        Err(Unreadable::Syntax)
    }

    fn skip_double(&mut self) -> Result<(), Unreadable> {
        let double = std::mem::replace(&mut self.double, true);
        while self.peek().ok_or(Unreadable::Syntax)? != '"' {
            self.skip_unit()?;
        }
        self.at += 1;
        self.double = double;
        Ok(())
    }
}

/// Where `${` closes that was opened before `from`.
pub(super) fn close_of_parameter(chars: &[char], from: usize, double: bool) -> Result<usize, Unreadable> {
    close(Scan { chars, at: from, double }, '{', '}')
}

/// Where the bracket closes that was opened before `from`.
pub(super) fn close_of(chars: &[char], from: usize, open: char, close_with: char) -> Result<usize, Unreadable> {
    close(Scan::new(chars, from), open, close_with)
}

fn close(mut scan: Scan<'_>, open: char, close: char) -> Result<usize, Unreadable> {
    let mut depth = 0_usize;
    let mut is_blank_before = true;
    let mut documents = Vec::new();
    while let Some(char) = scan.peek() {
        if char == close && depth == 0 {
            return Ok(scan.at);
        }
        if char == '#' && is_blank_before && close == ')' {
            scan.take_while(|char| char != '\n');
            continue;
        }
        if char == '<'
            && close == ')'
            && let Some(document) = document_at(&scan)
        {
            scan.at = document.0;
            documents.push(document.1);
            continue;
        }
        if char == '\n' && !documents.is_empty() {
            scan.at += 1;
            documents.drain(..).for_each(|tag| skip_document(&mut scan, &tag));
            is_blank_before = true;
            continue;
        }
        match char {
            char if char == open => depth += 1,
            char if char == close => depth -= 1,
            _ => {}
        }
        is_blank_before = char.is_whitespace() || matches!(char, ';' | '(' | '&' | '|');
        scan.skip_unit()?;
    }
    Err(Unreadable::Syntax)
}

/// The end tag of a here-document that begins here, and where its operator ends.
fn document_at(scan: &Scan<'_>) -> Option<(usize, String)> {
    let mut ahead = Scan { chars: scan.chars, at: scan.at, double: false };
    let operator = ahead.take_while(|char| char == '<');
    if operator.len() != 2 {
        return None;
    }
    ahead.take_while(|char| char == '-');
    ahead.take_while(|char| char == ' ' || char == '\t');
    let tag = ahead.take_while(|char| !char.is_whitespace() && !";|&()<>`".contains(char));
    let tag: String = tag.chars().filter(|char| !matches!(char, '\'' | '"' | '\\')).collect();
    (!tag.is_empty()).then_some((ahead.at, tag))
}

/// Moves behind the line that is the end tag. Without one nothing is a document.
fn skip_document(scan: &mut Scan<'_>, tag: &str) {
    let start = scan.at;
    while scan.peek().is_some() {
        let line = scan.take_while(|char| char != '\n');
        scan.take();
        if line.trim_start_matches('\t') == tag {
            return;
        }
    }
    scan.at = start;
}
