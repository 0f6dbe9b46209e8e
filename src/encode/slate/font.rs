//! A stroke font of our own: Latin letters with their accents, digits, signs. No font files, so that every host draws the same.

/// A line of points in units: 0 to 4 across; 0 to 6 down to the baseline, 8 with descenders. Accents of capitals rise to -3.
pub type Stroke = Vec<(f32, f32)>;

/// Highest an accent rises above a capital, units.
pub const RISE: f32 = 2.5;

/// The strokes of a letter. A combining accent is drawn as it belongs to the letter `before` it.
pub fn strokes(letter: char, before: Option<char>) -> Vec<Stroke> {
    if let Some(accent) = COMBINING.iter().find(|(mark, _)| *mark == letter).map(|(_, accent)| *accent) {
        return mark(accent, before.unwrap_or('x'));
    }
    let accented = ACCENTED.iter().find_map(|(accent, pairs)| {
        let mut chars = pairs.chars();
        while let (Some(composed), Some(base)) = (chars.next(), chars.next()) {
            if composed == letter {
                return Some((*accent, base));
            }
        }
        None
    });
    match accented {
        Some((accent, base)) => [lines(glyph(base)), mark(accent, base)].concat(),
        None => lines(glyph(letter)),
    }
}

/// Whether a character is drawn onto the one before it.
pub fn is_combining(letter: char) -> bool {
    COMBINING.iter().any(|(mark, _)| *mark == letter)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accent {
    Grave,
    Acute,
    Circumflex,
    Tilde,
    Diaeresis,
    Ring,
    Caron,
    Macron,
    Breve,
    Dot,
    DoubleAcute,
    Cedilla,
    Ogonek,
}

/// Composed letters, each followed by its base. Of `ı` there is no dot in the way.
const ACCENTED: [(Accent, &str); 13] = [
    (Accent::Grave, "ÀAÈEÌIÒOÙUàaèeìıòoùu"),
    (Accent::Acute, "ÁAÉEÍIÓOÚUÝYĆCŃNŚSŹZĹLŔRáaéeíıóoúuýyćcńnśsźzĺlŕr"),
    (Accent::Circumflex, "ÂAÊEÎIÔOÛUĈCĜGĤHŜSŴWŶYâaêeîıôoûuĉcĝgĥhŝsŵwŷy"),
    (Accent::Tilde, "ÃAÑNÕOĨIŨUãañnõoĩıũu"),
    (Accent::Diaeresis, "ÄAËEÏIÖOÜUŸYäaëeïıöoüuÿy"),
    (Accent::Ring, "ÅAŮUåaůu"),
    (Accent::Caron, "ČCĎDĚEĽLŇNŘRŠSŤTŽZčcďděeľlňnřršsťtžz"),
    (Accent::Macron, "ĀAĒEĪIŌOŪUāaēeīıōoūu"),
    (Accent::Breve, "ĂAĞGĬIŎOŬUăağgĭıŏoŭu"),
    (Accent::Dot, "ĊCĖEĠGİIŻZċcėeġgżz"),
    (Accent::DoubleAcute, "ŐOŰUőoűu"),
    (Accent::Cedilla, "ÇCĢGĶKĻLŅNŖRŞSŢTȘSȚTçcģgķkļlņnŗrşsţtșsțt"),
    (Accent::Ogonek, "ĄAĘEĮIŲUąaęeįiųu"),
];

/// Combining marks (Unicode's U+0300 block): some systems write `é` as `e` and one of these.
const COMBINING: [(char, Accent); 13] = [
    ('\u{300}', Accent::Grave),
    ('\u{301}', Accent::Acute),
    ('\u{302}', Accent::Circumflex),
    ('\u{303}', Accent::Tilde),
    ('\u{308}', Accent::Diaeresis),
    ('\u{30a}', Accent::Ring),
    ('\u{30c}', Accent::Caron),
    ('\u{304}', Accent::Macron),
    ('\u{306}', Accent::Breve),
    ('\u{307}', Accent::Dot),
    ('\u{30b}', Accent::DoubleAcute),
    ('\u{327}', Accent::Cedilla),
    ('\u{328}', Accent::Ogonek),
];

/// An accent's strokes where they belong on `base`: above capitals and ascenders, above small letters, or below.
fn mark(accent: Accent, base: char) -> Vec<Stroke> {
    let tall = base.is_uppercase() || "bdfhklt".contains(base);
    let up = if tall { RISE } else { 0.3 };
    let (table, up) = match accent {
        Accent::Grave => ("10 21", up),
        Accent::Acute => ("30 21", up),
        Accent::Circumflex => ("11 20 31", up),
        Accent::Tilde => ("01 10 31 40", up),
        Accent::Diaeresis => ("10 10|30 30", up),
        Accent::Ring => ("20 31 22 11 20", up + 0.5),
        Accent::Caron => ("10 21 30", up),
        Accent::Macron => ("10 30", up),
        Accent::Breve => ("10 11 31 30", up),
        Accent::Dot => ("20 20", up),
        Accent::DoubleAcute => ("20 11|40 31", up),
        Accent::Cedilla => ("26 27 18", 0.0),
        Accent::Ogonek => ("36 27 38", 0.0),
    };
    let raise = |stroke: Stroke| stroke.into_iter().map(|(x, y)| (x, y - up)).collect();
    lines(table).into_iter().map(raise).collect()
}

/// Points are two digits, across and down; strokes are parted by `|`.
fn lines(table: &str) -> Vec<Stroke> {
    let point = |p: &str| {
        let mut digits = p.bytes().map(|b| f32::from(b - b'0'));
        Some((digits.next()?, digits.next()?))
    };
    table.split('|').map(|stroke| stroke.split_whitespace().filter_map(point).collect()).collect()
}

fn glyph(letter: char) -> &'static str {
    match letter {
        'A' => "06 20 46|14 34",
        'B' => "00 06 36 45 44 33 03|33 42 41 30 00",
        'C' => "41 30 10 01 05 16 36 45",
        'D' => "00 06 26 44 42 20 00",
        'E' => "40 00 06 46|03 33",
        'F' => "40 00 06|03 33",
        'G' => "41 30 10 01 05 16 36 45 43 23",
        'H' => "00 06|40 46|03 43",
        'I' => "10 30|20 26|16 36",
        'J' => "40 45 36 16 05",
        'K' => "00 06|40 03 46",
        'L' => "00 06 46",
        'M' => "06 00 23 40 46",
        'N' => "06 00 46 40",
        'O' => "10 30 41 45 36 16 05 01 10",
        'P' => "06 00 30 41 42 33 03",
        'Q' => "10 30 41 45 36 16 05 01 10|34 46",
        'R' => "06 00 30 41 42 33 03|23 46",
        'S' => "41 30 10 01 02 13 33 44 45 36 16 05",
        'T' => "00 40|20 26",
        'U' => "00 05 16 36 45 40",
        'V' => "00 26 40",
        'W' => "00 16 22 36 40",
        'X' => "00 46|40 06",
        'Y' => "00 23 40|23 26",
        'Z' => "00 40 06 46",
        'Æ' => "06 20 26 46|14 24|20 40|23 43",
        'Ø' => "10 30 41 45 36 16 05 01 10|06 40",
        'Œ' => "20 10 01 05 16 26|40 20 26 46|23 43",
        'Ł' => "00 06 46|04 22",
        'Đ' | 'Ð' => "00 06 26 44 42 20 00|03 23",
        'Þ' => "00 06|01 31 42 43 34 04",
        'ẞ' => "06 01 10 30 40 22 43 45 36 26",
        'a' => "42 46|43 32 12 03 05 16 36 45",
        'b' => "00 06|03 12 32 43 45 36 16 05",
        'c' => "43 32 12 03 05 16 36 45",
        'd' => "40 46|43 32 12 03 05 16 36 45",
        'e' => "04 44 43 32 12 03 05 16 36 45",
        'f' => "40 30 21 26|12 42",
        'g' => "42 47 38 18 07|43 32 12 03 05 16 36 45",
        'h' => "00 06|03 12 32 43 46",
        'i' => "22 26|20 20",
        'ı' => "22 26",
        'j' => "32 37 28 18|30 30",
        'k' => "00 06|42 04|13 46",
        'l' => "20 25 36",
        'm' => "02 06|03 12 23 26|23 32 43 46",
        'n' => "02 06|03 12 32 43 46",
        'o' => "12 32 43 45 36 16 05 03 12",
        'p' => "02 08|03 12 32 43 45 36 16 05",
        'q' => "42 48|43 32 12 03 05 16 36 45",
        'r' => "02 06|04 13 22 42",
        's' => "43 32 12 03 14 34 45 36 16 05",
        't' => "10 15 26 46|02 42",
        'u' => "02 05 16 36 45|42 46",
        'v' => "02 26 42",
        'w' => "02 16 23 36 42",
        'x' => "02 46|06 42",
        'y' => "02 05 16 36 45|42 47 38 18 07",
        'z' => "02 42 06 46",
        'æ' => "03 12 23 25 16 05 04 44 43 32 23|25 36 46",
        'ø' => "12 32 43 45 36 16 05 03 12|06 42",
        'œ' => "12 03 05 16 25 23 12|24 44 43 32 23|25 36 46",
        'ł' => "20 25 36|14 32",
        'đ' => "40 46|43 32 12 03 05 16 36 45|21 41",
        'ð' => "10 43 45 36 16 05 03 12 32|11 30",
        'þ' => "00 08|03 12 32 43 45 36 16 05",
        'ß' => "06 01 10 30 41 32 22|32 43 45 36 26",
        '0' => "10 30 41 45 36 16 05 01 10|32 14",
        '1' => "11 20 26|16 36",
        '2' => "01 10 30 41 42 06 46",
        '3' => "01 10 30 41 42 33 23|33 44 45 36 16 05",
        '4' => "36 30 04 44",
        '5' => "40 00 03 33 44 45 36 16 05",
        '6' => "41 30 10 01 05 16 36 45 44 33 13 04",
        '7' => "00 40 16",
        '8' => "10 30 41 42 33 13 02 01 10|13 04 05 16 36 45 44 33",
        '9' => "42 33 13 02 01 10 30 41 45 36 16 05",
        '.' => "26 26",
        '·' | '•' => "23 23",
        '…' => "06 06|26 26|46 46",
        ',' | '‚' => "25 17",
        ':' => "23 23|26 26",
        ';' => "22 22|25 17",
        '!' => "20 24|26 26",
        '¡' => "20 20|22 26",
        '?' => "01 10 30 41 42 23 24|26 26",
        '¿' => "20 20|22 23 04 05 16 36 45",
        '-' | '‐' | '‑' => "13 33",
        '–' | '—' => "03 43",
        '_' => "07 47",
        '+' => "03 43|21 25",
        '=' => "02 42|04 44",
        '*' => "21 25|12 34|14 32",
        '/' => "06 40",
        '\\' => "00 46",
        '|' => "20 26",
        '\'' | '’' | '‘' | '´' | '`' => "20 21",
        '"' | '“' | '”' | '„' => "10 11|30 31",
        '«' => "22 03 24|42 23 44",
        '»' => "02 23 04|22 43 24",
        '<' => "41 03 45",
        '>' => "01 43 05",
        '(' => "30 21 25 36",
        ')' => "10 21 25 16",
        '[' => "30 20 26 36",
        ']' => "10 20 26 16",
        '&' => "46 11 10 20 21 04 05 16 26 44",
        '@' => "34 23 32 34 44 41 30 10 01 05 16 36",
        '#' => "10 16|30 36|02 42|04 44",
        '%' => "06 40|00 10 11 01 00|35 45 46 36 35",
        '°' => "10 30 32 12 10",
        '$' => "41 30 10 01 02 13 33 44 45 36 16 05|20 26",
        '€' => "41 30 20 11 15 26 36 45|02 32|04 34",
        '£' => "41 30 20 11 15 06 46|03 33",
        ' ' | '\u{a0}' => "",
        // What we cannot write, shown as a box.
        _ => "10 30 36 16 10",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_many_languages_have_strokes_and_stay_in_their_box() {
        let texts = [
            "The quick brown fox jumps over the lazy dog THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG 0123456789",
            "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg ÄÖÜß",
            "Voix ambiguë d’un cœur qui au zéphyr préfère les jattes de kiwis ÀÂÇÉÈÊËÎÏÔŒÙÛŸ",
            "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío; añoraba ¡¿ÁÉÍÑÓÚ",
            "Příliš žluťoučký kůň úpěl ďábelské ódy ČĎĚŇŘŠŤŮŽ",
            "Zażółć gęślą jaźń ĄĆĘŁŃÓŚŹŻ",
            "Árvíztűrő tükörfúrógép ŐŰ",
            "Blåbærsyltetøy ÆØÅ þjóð ÞÐ",
            "Pijamalı hasta yağız şoföre çabucak güvendi İĞŞ",
            "Jāņa ģitāra ķļņ Āčēž Cât țară șapte Ță",
        ];
        let unknown = lines(glyph('\u{fffd}'));
        for letter in texts.iter().flat_map(|t| t.chars()) {
            let drawn = strokes(letter, None);
            assert!(letter == ' ' || drawn != unknown && !drawn.concat().is_empty(), "`{letter}` is not drawn");
            for (x, y) in drawn.into_iter().flatten() {
                assert!((0.0..=4.0).contains(&x) && (-3.1..=8.0).contains(&y), "`{letter}` leaves its box at {x}, {y}");
            }
        }
    }

    #[test]
    fn an_accent_may_come_by_itself() {
        let by_itself = [strokes('e', None), strokes('\u{301}', Some('e'))].concat();
        assert_eq!(by_itself, strokes('é', None));
        assert_ne!(strokes('\u{301}', Some('E')), strokes('\u{301}', Some('e')), "higher above a capital");
    }

    #[test]
    fn what_is_not_known_is_a_box() {
        assert_eq!(strokes('漢', None), lines("10 30 36 16 10"));
    }
}
