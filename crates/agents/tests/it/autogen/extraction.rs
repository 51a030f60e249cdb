//! Cases 1 to 9: code blocks in messages.

use cellblock_agents::{Chat, Content, Image, Message, Part};
use cellblock_answer::{code_blocks, language::infer};
use cellblock_exec::Language;

use crate::{
    cast::{runs, says},
    fake::Fake,
};

fn languages(text: &str) -> Vec<Option<String>> {
    code_blocks(text).iter().map(|block| block.language.as_ref().map(ToString::to_string)).collect()
}

#[test]
fn case_01_untagged_print_is_python() {
    let blocks = code_blocks("```\nprint(\"hello extract code\")\n```");
    assert_eq!(blocks.len(), 1);
    assert_eq!((&blocks[0].language, blocks[0].inferred), (&Some(Language::PYTHON), true));
    assert_eq!(blocks[0].code, "print(\"hello extract code\")\n");
}

#[test]
fn case_02_two_python_fences_are_two_blocks() {
    let text = "First:\n```python\nprint(1)\n```\nand then:\n```python\nprint(2)\n```\n";
    let blocks = code_blocks(text);
    assert_eq!(languages(text), [Some("python".to_owned()), Some("python".to_owned())]);
    assert_eq!((blocks[0].code.as_str(), blocks[1].code.as_str()), ("print(1)\n", "print(2)\n"));
}

#[test]
fn case_03_an_indented_fence_keeps_its_indentation() {
    let blocks = code_blocks("- Step one:\n\n  ```python\n  def f():\n      return 1\n  ```\n");
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].code, "def f():\n    return 1\n");
    let blocks = code_blocks("    ```python\n    if True:\n        print('in')\n    ```\n");
    assert_eq!(blocks[0].code, "if True:\n    print('in')\n");
}

#[test]
fn case_04_a_blank_before_the_tag_and_carriage_returns() {
    let blocks = code_blocks("``` python\r\nprint('a')\r\nprint('b')\r\n```\r\n");
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].language, Some(Language::PYTHON));
    assert_eq!(blocks[0].code, "print('a')\nprint('b')\n");
}

#[test]
fn case_05_a_bash_tag() {
    assert_eq!(languages("```bash\necho hi\n```"), [Some("bash".to_owned())]);
}

#[test]
fn case_06_untagged_c_sharp_is_unknown() {
    let text = concat!(
        "```\nusing System;\n",
        "class Program { static void Main() { Console.WriteLine(\"hi\"); } }\n```",
    );
    assert_eq!(languages(text), [None]);
}

#[test]
fn case_07_no_fence_is_no_block() {
    assert!(code_blocks("print('this is only text')").is_empty());
    assert!(code_blocks("Use `print(1)` here.").is_empty());
}

#[test]
fn case_08_languages_are_inferred() {
    assert_eq!(infer("print('hello world')"), Some(Language::PYTHON));
    assert_eq!(infer("pip install autogen"), Some(Language::SH));
    assert_eq!(infer("dummy text"), None);
}

#[tokio::test]
async fn case_09_code_in_the_text_of_a_message_with_pictures() {
    let image = Image { media_type: "image/png".to_owned(), data: vec![1, 2, 3].into() };
    let text = "Look at this, then run:\n```python\nprint found\n```".to_owned();
    let content = Content::Parts(vec![Part::Image(image), Part::Text { text }]);
    assert_eq!(code_blocks(&Message::new("a", content.clone()).text()).len(), 1);
    let fake = Fake::default();
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("a", ""), runs("b", fake.clone())) };
    let result = chat.run(content).await.unwrap();
    assert_eq!(fake.ran(), ["print found\n"]);
    assert_eq!(result.history[1].text(), "exitcode: 0 (execution succeeded)\nCode output: found\n");
}
