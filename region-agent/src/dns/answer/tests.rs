//! Whole answers, decoded by hickory, against what RFCs 1034, 1035, 2308, 6891 and 8482 ask for.

use std::str::FromStr;

use hickory_proto::rr::{Name, Record};

use super::*;
use crate::dns::sample;

pub(super) fn table() -> Table {
    Table::default().offered(vec![sample::zone(7)]).table
}

/// A question as a resolver would send it.
fn question(name: &str, qtype: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.queries.push(Query::query(Name::from_ascii(name).unwrap(), qtype));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.edns = Some(edns);
    message
}

fn ask_octets(request: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match answer(&table(), request, transport, 0, &mut out) {
        Outcome::Reply => Some(out),
        Outcome::Drop => None,
        Outcome::Transfer(_) => panic!("a transfer was not asked for"),
    }
}

fn ask(request: &Message, transport: Transport) -> String {
    let octets = ask_octets(&request.to_bytes().unwrap(), transport).expect("an answer");
    shown(&Message::from_vec(&octets).unwrap())
}

fn asked(name: &str, qtype: RecordType) -> String {
    ask(&question(name, qtype), Transport::Udp)
}

/// Everything in a message, on a line for each section that is not empty.
fn shown(message: &Message) -> String {
    let meta = &message.metadata;
    let mut text = format!("{} {:?} {:?}", meta.id, meta.op_code, meta.response_code);
    let flags = [
        ("qr", meta.message_type == MessageType::Response),
        ("aa", meta.authoritative),
        ("tc", meta.truncation),
        ("rd", meta.recursion_desired),
        ("ra", meta.recursion_available),
        ("ad", meta.authentic_data),
        ("cd", meta.checking_disabled),
    ];
    flags.iter().filter(|(_, set)| *set).for_each(|(flag, _)| text += &format!(" {flag}"));
    for query in &message.queries {
        text += &format!("\n? {} {} {}", query.name, query.query_class, query.query_type);
    }
    let mut section = |sign: &str, records: &[Record]| {
        for record in records {
            let (name, ttl, class) = (&record.name, record.ttl, record.dns_class);
            text += &format!("\n{sign} {name} {ttl} {class} {} {}", record.record_type(), record.data);
        }
    };
    section("=", &message.answers);
    section("~", &message.authorities);
    section("+", &message.additionals);
    if let Some(edns) = &message.edns {
        let options = edns.options().as_ref().len();
        let dnssec_ok = if edns.flags().dnssec_ok { " do" } else { "" };
        text += &format!("\nedns {} {}{dnssec_ok} options {options}", edns.version(), edns.max_payload());
    }
    text
}

const SOA: &str = "example.test. 5 IN SOA ns1.example.test. hostmaster.example.test. 7 60 10 604800 5";

#[test]
fn a_name_and_type_that_exist() {
    assert_eq!(
        asked("app.example.test.", RecordType::A),
        "4711 Query NoError qr aa\n? app.example.test. IN A\n\
         = app.example.test. 5 IN A 192.0.2.1\n= app.example.test. 5 IN A 192.0.2.2"
    );
    assert_eq!(
        asked("app.example.test.", RecordType::AAAA),
        "4711 Query NoError qr aa\n? app.example.test. IN AAAA\n= app.example.test. 5 IN AAAA 2001:db8::1"
    );
    assert_eq!(
        asked("deep.down.example.test.", RecordType::TXT),
        "4711 Query NoError qr aa\n? deep.down.example.test. IN TXT\n\
         = deep.down.example.test. 60 IN TXT hello world"
    );
}

#[test]
fn a_sole_group_is_served_at_weight_0_too() {
    assert_eq!(
        asked("v4.example.test.", RecordType::A),
        "4711 Query NoError qr aa\n? v4.example.test. IN A\n= v4.example.test. 5 IN A 192.0.2.4"
    );
}

#[test]
fn an_absent_type_is_nodata_and_an_absent_name_nxdomain() {
    for (name, qtype) in [("v4", RecordType::AAAA), ("v4", RecordType::MX), ("down", RecordType::A)] {
        let (fqdn, soa) = (format!("{name}.example.test."), SOA);
        assert_eq!(asked(&fqdn, qtype), format!("4711 Query NoError qr aa\n? {fqdn} IN {qtype}\n~ {soa}"));
    }
    for name in ["no.example.test.", "no.down.example.test.", "below.app.example.test."] {
        assert_eq!(asked(name, RecordType::A), format!("4711 Query NXDomain qr aa\n? {name} IN A\n~ {SOA}"));
    }
}

#[test]
fn the_apex_has_soa_ns_and_glue() {
    assert_eq!(
        asked("example.test.", RecordType::SOA),
        format!("4711 Query NoError qr aa\n? example.test. IN SOA\n= {SOA}")
    );
    assert_eq!(
        asked("example.test.", RecordType::NS),
        "4711 Query NoError qr aa\n? example.test. IN NS\n\
         = example.test. 300 IN NS ns1.example.test.\n= example.test. 300 IN NS ns.elsewhere.test.\n\
         + ns1.example.test. 300 IN A 192.0.2.53\n+ ns1.example.test. 300 IN AAAA 2001:db8::53"
    );
    assert_eq!(
        asked("ns1.example.test.", RecordType::A),
        "4711 Query NoError qr aa\n? ns1.example.test. IN A\n= ns1.example.test. 300 IN A 192.0.2.53"
    );
}

#[test]
fn aliases_are_followed_within_the_zone() {
    assert_eq!(
        asked("www.example.test.", RecordType::AAAA),
        "4711 Query NoError qr aa\n? www.example.test. IN AAAA\n\
         = www.example.test. 30 IN CNAME app.example.test.\n= app.example.test. 5 IN AAAA 2001:db8::1"
    );
    assert_eq!(
        asked("www.example.test.", RecordType::TXT),
        format!(
            "4711 Query NoError qr aa\n? www.example.test. IN TXT\n\
             = www.example.test. 30 IN CNAME app.example.test.\n~ {SOA}"
        )
    );
    assert_eq!(
        asked("www.example.test.", RecordType::CNAME),
        "4711 Query NoError qr aa\n? www.example.test. IN CNAME\n\
         = www.example.test. 30 IN CNAME app.example.test."
    );
    assert_eq!(
        asked("cdn.example.test.", RecordType::A),
        "4711 Query NoError qr aa\n? cdn.example.test. IN A\n\
         = cdn.example.test. 30 IN CNAME cdn.elsewhere.test."
    );
    assert_eq!(
        asked("broken.example.test.", RecordType::A),
        format!(
            "4711 Query NXDomain qr aa\n? broken.example.test. IN A\n\
             = broken.example.test. 30 IN CNAME gone.example.test.\n~ {SOA}"
        )
    );
    assert_eq!(
        asked("loop.example.test.", RecordType::A),
        "4711 Query NoError qr aa\n? loop.example.test. IN A\n\
         = loop.example.test. 30 IN CNAME loop.example.test."
    );
}

#[test]
fn wildcards_answer_below_their_closest_encloser() {
    assert_eq!(
        asked("any.thing.wild.example.test.", RecordType::A),
        "4711 Query NoError qr aa\n? any.thing.wild.example.test. IN A\n\
         = any.thing.wild.example.test. 5 IN A 192.0.2.9"
    );
    assert_eq!(
        asked("any.wild.example.test.", RecordType::TXT),
        format!("4711 Query NoError qr aa\n? any.wild.example.test. IN TXT\n~ {SOA}")
    );
    assert_eq!(
        asked("wild.example.test.", RecordType::A),
        format!("4711 Query NoError qr aa\n? wild.example.test. IN A\n~ {SOA}")
    );
}

#[test]
fn the_spelling_of_the_question_is_kept() {
    for name in ["aPP.exaMPLe.Test.", "NO.example.tesT.", "WWW.Example.Test."] {
        let request = question(name, RecordType::A).to_bytes().unwrap();
        let octets = ask_octets(&request, Transport::Udp).unwrap();
        assert_eq!(octets[12..12 + name.len() + 1], request[12..12 + name.len() + 1], "{name}");
        let reply = Message::from_vec(&octets).unwrap();
        assert!(reply.queries[0].name.eq_case(&Name::from_ascii(name).unwrap()));
        if let Some(first) = reply.answers.first() {
            assert!(first.name.eq_case(&Name::from_ascii(name).unwrap()), "{}", first.name);
        }
    }
}

#[test]
fn any_gives_one_set() {
    assert_eq!(
        asked("app.example.test.", RecordType::ANY),
        "4711 Query NoError qr aa\n? app.example.test. IN ANY\n\
         = app.example.test. 5 IN A 192.0.2.1\n= app.example.test. 5 IN A 192.0.2.2"
    );
    assert_eq!(
        asked("www.example.test.", RecordType::ANY),
        "4711 Query NoError qr aa\n? www.example.test. IN ANY\n\
         = www.example.test. 30 IN CNAME app.example.test."
    );
    assert_eq!(
        asked("no.example.test.", RecordType::ANY),
        format!("4711 Query NXDomain qr aa\n? no.example.test. IN ANY\n~ {SOA}")
    );
}

#[test]
fn what_is_not_ours_is_refused() {
    assert_eq!(asked("example.com.", RecordType::A), "4711 Query Refused qr\n? example.com. IN A");
    assert_eq!(asked("test.", RecordType::A), "4711 Query Refused qr\n? test. IN A");
    assert_eq!(asked(".", RecordType::NS), "4711 Query Refused qr\n? . IN NS");
    for class in [DNSClass::CH, DNSClass::ANY] {
        let mut request = question("app.example.test.", RecordType::A);
        request.queries[0].query_class = class;
        assert_eq!(
            ask(&request, Transport::Udp),
            format!("4711 Query Refused qr\n? app.example.test. {class} A")
        );
    }
}

#[test]
fn rd_is_copied_and_recursion_never_offered() {
    let mut request = question("app.example.test.", RecordType::AAAA);
    request.metadata.recursion_desired = true;
    request.metadata.authentic_data = true;
    request.metadata.checking_disabled = true;
    assert_eq!(
        ask(&request, Transport::Udp),
        "4711 Query NoError qr aa rd\n? app.example.test. IN AAAA\n= app.example.test. 5 IN AAAA 2001:db8::1"
    );
}

#[test]
fn edns_is_answered_with_our_own() {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    let mut request = with_edns(question("app.example.test.", RecordType::AAAA), 4096);
    let edns = request.edns.as_mut().unwrap();
    edns.set_dnssec_ok(true);
    edns.options_mut().insert(EdnsOption::Unknown(EdnsCode::NSID.into(), Vec::new()));
    edns.options_mut().insert(EdnsOption::Unknown(65001, vec![1, 2, 3]));
    assert_eq!(
        ask(&request, Transport::Udp),
        "4711 Query NoError qr aa\n? app.example.test. IN AAAA\n\
         = app.example.test. 5 IN AAAA 2001:db8::1\nedns 0 1232 do options 0"
    );
    let refused = with_edns(question("example.com.", RecordType::A), 512);
    assert_eq!(
        ask(&refused, Transport::Udp),
        "4711 Query Refused qr\n? example.com. IN A\nedns 0 1232 options 0"
    );
}

#[test]
fn an_edns_version_to_come_is_badvers() {
    let mut request = with_edns(question("app.example.test.", RecordType::A), 1232);
    request.edns.as_mut().unwrap().set_version(1);
    assert_eq!(
        ask(&request, Transport::Udp),
        // 16 is BADVERS and BADSIG at once (RFC 6895, 2.3); hickory shows the latter.
        "4711 Query BADSIG qr\n? app.example.test. IN A\nedns 0 1232 options 0"
    );
}

#[test]
fn what_does_not_fit_udp_says_tc_and_comes_whole_by_tcp() {
    let request = question("big.example.test.", RecordType::TXT);
    let truncated = "4711 Query NoError qr aa tc\n? big.example.test. IN TXT";
    assert_eq!(ask(&request, Transport::Udp), truncated);
    let edns = "\nedns 0 1232 options 0";
    assert_eq!(ask(&with_edns(request.clone(), 4096), Transport::Udp), format!("{truncated}{edns}"));
    assert_eq!(ask(&with_edns(request.clone(), 100), Transport::Udp), format!("{truncated}{edns}"));
    let whole = ask_octets(&request.to_bytes().unwrap(), Transport::Tcp).unwrap();
    let whole = Message::from_vec(&whole).unwrap();
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 2);
}

#[test]
fn weighted_groups_are_drawn_one_at_a_time() {
    let table = table();
    let request = question("split.example.test.", RecordType::A).to_bytes().unwrap();
    let (mut state, mut out) = (1, Vec::new());
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..4_000 {
        let random = next_random(&mut state);
        assert!(matches!(answer(&table, &request, Transport::Udp, random, &mut out), Outcome::Reply));
        let reply = Message::from_vec(&out).unwrap();
        let [record] = &reply.answers[..] else { panic!("{}", shown(&reply)) };
        *counts.entry(record.data.to_string()).or_insert(0) += 1;
    }
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2"]);
    assert!((2_800..3_200).contains(&counts["192.0.2.1"]), "{counts:?}");
}

#[test]
fn with_every_weight_at_0_everything_is_served() {
    assert_eq!(
        asked("dark.example.test.", RecordType::A),
        "4711 Query NoError qr aa\n? dark.example.test. IN A\n\
         = dark.example.test. 5 IN A 192.0.2.1\n= dark.example.test. 5 IN A 192.0.2.2"
    );
}

#[test]
fn notify_is_answered_and_other_operations_are_not_implemented() {
    let mut notify = question("example.test.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    notify.metadata.authoritative = true;
    assert_eq!(ask(&notify, Transport::Udp), "4711 Notify NoError qr aa\n? example.test. IN SOA");
    notify.queries[0].name = Name::from_str("other.test.").unwrap();
    assert_eq!(ask(&notify, Transport::Udp), "4711 Notify NotAuth qr\n? other.test. IN SOA");
    for op_code in [1, 2, 3, 5, 6, 15] {
        let mut request = question("example.test.", RecordType::SOA).to_bytes().unwrap();
        request[2] = op_code << 3;
        let reply = ask_octets(&request, Transport::Udp).unwrap();
        assert_eq!(reply[2..4], [0x80 | op_code << 3, 4]);
        assert_eq!(reply[12..], request[12..], "with its question");
        // Of another shape, as an UPDATE is: at least its header.
        request[6] = 9;
        let reply = ask_octets(&request, Transport::Udp).unwrap();
        assert_eq!(reply, [&request[..2], &[0x80 | op_code << 3, 4], &[0; 8]].concat());
    }
}

#[test]
fn questions_for_what_no_zone_holds() {
    for qtype in [249, 250, 253, 254] {
        let reply = asked("example.test.", RecordType::from(qtype));
        assert!(reply.starts_with("4711 Query NotImp qr\n"), "{reply}");
    }
    assert_eq!(asked("example.test.", RecordType::OPT), "4711 Query FormErr qr");
}

#[test]
fn transfers_are_for_tcp_and_for_whole_zones() {
    let axfr = question("example.test.", RecordType::AXFR);
    assert_eq!(ask(&axfr, Transport::Udp), "4711 Query Refused qr\n? example.test. IN AXFR");
    let below = question("app.example.test.", RecordType::AXFR);
    assert_eq!(ask(&below, Transport::Tcp), "4711 Query NotAuth qr\n? app.example.test. IN AXFR");
}

fn ixfr(serial: u32) -> Message {
    let mut request = question("example.test.", RecordType::IXFR);
    let mut soa = table().zones()[0].soa.clone();
    if let RData::SOA(soa) = &mut soa.data {
        soa.serial = serial;
    }
    request.authorities.push(soa);
    request
}

#[test]
fn ixfr_tells_who_is_newest_and_sends_all_to_who_is_not() {
    let only_soa = format!("4711 Query NoError qr aa\n? example.test. IN IXFR\n= {SOA}");
    assert_eq!(ask(&ixfr(7), Transport::Tcp), only_soa);
    assert_eq!(ask(&ixfr(8), Transport::Tcp), only_soa);
    assert_eq!(ask(&ixfr(6), Transport::Udp), only_soa);
    let mut out = Vec::new();
    for serial in [6, u32::MAX] {
        let request = ixfr(serial).to_bytes().unwrap();
        assert!(matches!(answer(&table(), &request, Transport::Tcp, 0, &mut out), Outcome::Transfer(_)));
    }
    let bare = question("example.test.", RecordType::IXFR);
    assert_eq!(ask(&bare, Transport::Tcp), "4711 Query FormErr qr\n? example.test. IN IXFR");
}

#[test]
fn a_transfer_carries_every_record_between_two_soas() {
    let request = question("example.test.", RecordType::AXFR).to_bytes().unwrap();
    let Outcome::Transfer(transfer) = answer(&table(), &request, Transport::Tcp, 0, &mut Vec::new()) else {
        panic!("not a transfer")
    };
    let messages: Vec<_> =
        transfer.messages().map(|octets| Message::from_vec(&octets.unwrap()).unwrap()).collect();
    let records: Vec<_> = messages.iter().flat_map(|message| &message.answers).collect();
    assert!(messages.iter().all(|m| m.metadata.id == 4711 && m.metadata.authoritative));
    let types: Vec<_> = [records[0], records[records.len() - 1]].map(|record| record.record_type()).into();
    assert_eq!(types, [RecordType::SOA, RecordType::SOA]);
    let split: Vec<_> = records
        .iter()
        .filter(|record| record.name == Name::from_str("split.example.test.").unwrap())
        .map(|record| record.data.to_string())
        .collect();
    assert_eq!(split, ["192.0.2.1", "192.0.2.2"], "all groups of weight above 0");
    // 1 for each value of the sample, 2 NS, 2 glue, 2 SOA, without the group of weight 0.
    assert_eq!(records.len(), 22);
}

#[test]
fn a_large_zone_spans_messages_that_each_hold_it_in_part() {
    let mut zone = sample::zone(7);
    for i in 0..5_000 {
        let name = format!("n{i}.example.test");
        zone.records.push(sample::set(&name, decision::dns::RecordType::A, 5, &[("eu", 1, &["192.0.2.1"])]));
    }
    let table = Table::default().offered(vec![zone]).table;
    let request = question("example.test.", RecordType::AXFR).to_bytes().unwrap();
    let Outcome::Transfer(transfer) = answer(&table, &request, Transport::Tcp, 0, &mut Vec::new()) else {
        panic!("not a transfer")
    };
    let messages: Vec<_> = transfer.messages().map(|octets| octets.unwrap()).collect();
    assert!(messages.len() > 5 && messages.iter().all(|octets| octets.len() <= 16_384));
    let records: usize = messages.iter().map(|octets| Message::from_vec(octets).unwrap().answers.len()).sum();
    assert_eq!(records, 5_022);
}

/// The fast path is only faster: on every question both say the same.
#[test]
fn the_fast_path_says_what_the_slow_path_says() {
    let table = table();
    let (mut fast, mut slow, mut state) = (Vec::new(), Vec::new(), 3);
    let mut prebuilt_answers = 0;
    for name in ["app", "APP", "v4", "www", "no", "down", "big", "split", "dark", "ns1", "x.wild", "*.wild"] {
        let names =
            [format!("{name}.example.test."), format!("{name}.EXAMPLE.test."), "example.test.".into()];
        for (name, qtype) in names.iter().flat_map(|name| (1..=65).map(move |qtype| (name, qtype))) {
            for payload in [None, Some(0), Some(512), Some(1232), Some(65535)] {
                for transport in [Transport::Udp, Transport::Tcp] {
                    let mut request = question(name, RecordType::from(qtype));
                    request.metadata.recursion_desired = qtype % 2 == 0;
                    if let Some(payload) = payload {
                        request = with_edns(request, payload);
                        request.edns.as_mut().unwrap().set_dnssec_ok(qtype % 3 == 0);
                    }
                    let (request, random) = (request.to_bytes().unwrap(), next_random(&mut state));
                    fast.clear();
                    prebuilt_answers +=
                        u32::from(prebuilt::answer(&table, &request, transport, random, &mut fast));
                    answer(&table, &request, transport, random, &mut fast);
                    answer_slowly(&table, &request, transport, random, &mut slow);
                    // Names pointed at within the question take its spelling, which means the same.
                    let [fast, slow] = [&fast, &slow]
                        .map(|octets| shown(&Message::from_vec(octets).unwrap()).to_ascii_lowercase());
                    assert_eq!(fast, slow);
                }
            }
        }
    }
    assert!(prebuilt_answers > 500, "the fast path answered {prebuilt_answers} only");
}
