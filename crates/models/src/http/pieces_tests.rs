use futures_util::stream;
use proptest::prelude::*;

use super::*;

/// Keeps the pieces as they come; `"end"` is the last one.
#[derive(Default)]
struct Kept(Vec<String>);

impl Assemble for Kept {
    fn whole(&mut self, json: &[u8]) -> Result<(), Fault> {
        self.0.push(String::from_utf8_lossy(json).into_owned());
        Ok(())
    }

    fn piece(&mut self, json: &str, _: &mut Say<'_>) -> Result<Flow, Fault> {
        self.0.push(json.to_owned());
        Ok(if json == "end" { Flow::Done } else { Flow::More })
    }

    fn text(&self) -> &str {
        ""
    }

    fn end(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

fn cut(text: &str, places: &[usize]) -> impl Stream<Item = Result<Bytes, Cut>> + use<> {
    let mut pieces = Vec::new();
    let mut rest = text.as_bytes();
    for place in places {
        let (piece, after) = rest.split_at((*place).min(rest.len()));
        pieces.push(Ok(Bytes::copy_from_slice(piece)));
        rest = after;
    }
    pieces.push(Ok(Bytes::copy_from_slice(rest)));
    stream::iter(pieces)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn kept_lines(text: &str, places: &[usize]) -> Vec<String> {
    let mut kept = Kept::default();
    run(lines(&mut kept, cut(text, places), &mut |_| {})).unwrap();
    kept.0
}

fn kept_events(text: &str, places: &[usize]) -> Vec<String> {
    let mut kept = Kept::default();
    run(events(&mut kept, cut(text, places), &mut |_| {})).unwrap();
    kept.0
}

#[test]
fn lines_and_events_are_told_apart() {
    assert_eq!(kept_lines("a\r\n\n  b \nlast", &[]), ["a", "b", "last"]);
    assert_eq!(kept_lines("a\nend\nafter\n", &[]), ["a", "end"]);
    assert_eq!(kept_lines("", &[]), Vec::<String>::new());
    let text =
        ": comment\n\ndata: a\ndata: b\n\nevent: x\n\ndata:\n\nid: 1\ndata:c\n\ndata: cut off";
    assert_eq!(kept_events(text, &[]), ["a\nb", "c"]);
    assert_eq!(kept_events("data: end\n\ndata: after\n\n", &[]), ["end"]);
}

proptest! {
    #[test]
    fn it_does_not_matter_where_bytes_are_cut(
        parts in prop::collection::vec("[a-zäß ]{0,5}", 0..8),
        places in prop::collection::vec(0_usize..9, 0..12),
    ) {
        let text: String = parts.iter().map(|part| format!("{part}\n")).collect();
        prop_assert_eq!(kept_lines(&text, &places), kept_lines(&text, &[]));
        let text: String = parts.iter().map(|part| format!("data: {part}\r\n\r\n")).collect();
        prop_assert_eq!(kept_events(&text, &places), kept_events(&text, &[]));
    }
}
