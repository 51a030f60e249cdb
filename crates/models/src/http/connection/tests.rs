use std::time::{Duration, Instant};

use super::*;

#[test]
fn addresses_on_this_machine_are_recognized() {
    for local in
        ["http://localhost:1/v1", "http://127.0.0.1", "http://127.8.8.8:80", "http://[::1]:99/x"]
    {
        assert!(is_loopback(&local.parse().unwrap()), "{local}");
    }
    for remote in [
        "http://localhost.example.com",
        "http://128.0.0.1",
        "https://api.openai.com",
        "http://[::2]/",
    ] {
        assert!(!is_loopback(&remote.parse().unwrap()), "{remote}");
    }
}

#[tokio::test]
async fn turns_are_spread_and_clones_share_them() {
    // 600 a minute are a tenth of a second apart.
    let transport = Transport { requests_per_minute: NonZeroU32::new(600), ..Transport::default() };
    let (one, other) = (Connection::new(transport.clone()), Connection::new(transport));
    let clone = one.clone();
    let start = Instant::now();
    one.wait_for_turn().await;
    clone.wait_for_turn().await;
    one.wait_for_turn().await;
    assert!(start.elapsed().as_millis() >= 190, "{:?}", start.elapsed());
    // Control: another connection has its own turns, and one without a limit never waits.
    let start = Instant::now();
    other.wait_for_turn().await;
    let unlimited = Connection::default();
    for _ in 0..1000 {
        unlimited.wait_for_turn().await;
    }
    assert!(start.elapsed().as_secs() < 20);
}

#[tokio::test]
async fn a_cancelled_wait_takes_no_turn() {
    let limit = Connection::new(Transport {
        requests_per_minute: NonZeroU32::new(600),
        ..Transport::default()
    });
    limit.wait_for_turn().await;
    let start = Instant::now();
    for _ in 0..10 {
        let wait = limit.wait_for_turn();
        assert!(tokio::time::timeout(Duration::from_millis(1), wait).await.is_err());
    }
    limit.wait_for_turn().await;
    assert!(start.elapsed().as_millis() < 900, "{:?}", start.elapsed());
}
