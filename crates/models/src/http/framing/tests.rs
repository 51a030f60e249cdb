use futures_util::stream;
use proptest::prelude::*;

use super::*;

/// Keeps the pieces as they arrive; `"end"` is the last one.
#[derive(Default)]
struct PieceList(Vec<String>);

impl Assemble for PieceList {
    fn add_whole(&mut self, json: &[u8]) -> Result<(), AnswerError> {
        self.0.push(String::from_utf8_lossy(json).into_owned());
        Ok(())
    }

    fn add_piece(&mut self, json: &str, _: &mut OnText<'_>) -> Result<StreamState, AnswerError> {
        self.0.push(json.to_owned());
        Ok(if json == "end" { StreamState::Ended } else { StreamState::Open })
    }

    fn text(&self) -> &str {
        ""
    }

    fn finish(&mut self) -> Result<(), AnswerError> {
        Ok(())
    }

    fn into_completion(self: Box<Self>, model: &str) -> Completion {
        Completion::text(model, self.0.concat())
    }
}

fn split(text: &str, places: &[usize]) -> impl Stream<Item = Result<Bytes, BodyError>> + use<> {
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

fn lines(text: &str, places: &[usize]) -> Vec<String> {
    let mut list = PieceList::default();
    run(read_lines(&mut list, split(text, places), &mut |_| {})).unwrap();
    list.0
}

fn events(text: &str, places: &[usize]) -> Vec<String> {
    let mut list = PieceList::default();
    run(read_events(&mut list, split(text, places), &mut |_| {})).unwrap();
    list.0
}

#[test]
fn lines_and_events_are_separated() {
    assert_eq!(lines("a\r\n\n  b \nlast", &[]), ["a", "b", "last"]);
    assert_eq!(lines("a\nend\nafter\n", &[]), ["a", "end"]);
    assert_eq!(lines("", &[]), Vec::<String>::new());
    let text =
        ": comment\n\ndata: a\ndata: b\n\nevent: x\n\ndata:\n\nid: 1\ndata:c\n\ndata: cut off";
    assert_eq!(events(text, &[]), ["a\nb", "c"]);
    assert_eq!(events("data: end\n\ndata: after\n\n", &[]), ["end"]);
}

proptest! {
    #[test]
    fn bytes_may_be_split_anywhere(
        parts in prop::collection::vec("[a-zäß ]{0,5}", 0..8),
        places in prop::collection::vec(0_usize..9, 0..12),
    ) {
        let text: String = parts.iter().map(|part| format!("{part}\n")).collect();
        prop_assert_eq!(lines(&text, &places), lines(&text, &[]));
        let text: String = parts.iter().map(|part| format!("data: {part}\r\n\r\n")).collect();
        prop_assert_eq!(events(&text, &places), events(&text, &[]));
    }
}
