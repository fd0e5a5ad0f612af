//! Every field of the contract reaches its column of the batch.
use super::*;

#[test]
fn every_field_of_the_contract_reaches_its_place_in_the_catalogue() {
    let rest = r#","session_id":"s","event_index":41,"locale":"zh-CN","timezone":"Asia/Shanghai",
        "device":{"id":"d","manufacturer":"M","model":"m","type":"phone","os_name":"A","os_version":"14","screen_width":1080,
        "screen_height":2400,"network_type":"wifi"},"user_agent":"UA","ip":"203.0.113.7",
        "page":{"url":"https://e.x/","path":"/","title":"\u6d3b\n","referrer":"r","page_type":"home"},"screen":{"name":"sn"},
        "campaign":{"source":"cs","medium":"cm","name":"cn","term":"ct","content":"cc","id":"ci"},
        "click_id":"k","click_id_type":"gclid","install_source":"huawei","activity_event_id":"A-1_e",
        "content":{"id":"c","type":"video","source":"web_upload","author_id":"a","producer_type":"ugc","category":"cat",
        "tags":["x","","y"],"duration_ms":1000,"published_at":"1969-12-31T23:59:59Z"},
        "playback":{"id":"p","state":"playing","position_ms":5,"played_ms":6,"quality":"1080p","rebuffer_ms":7},
        "upload":{"id":"up","step":"done","bytes":8,"duration_ms":9,"error_code":"e"},
        "commerce":{"order_id":"o","product_id":"pi","product_type":"vip","quantity":2,"revenue_minor":-2500,"currency":"CNY",
        "entry_point":"mobile","gift_id":"g","receiver_id":"r"},"creator":{"id":"cr","level":"4","previous_level":"3"},
        "experiments":{"player":"a","player":"b"},"properties":{"n":1e999, "t":"x"},"is_test":true"#;
    let json = event("dev", rest);
    let (clean, dead) = process(&[record(3, 77, &json)]);
    assert_eq!((clean.len(), dead.len()), (1, 0));
    let batch = Batch::decode(&clean[0].value).unwrap();
    let texts: &[(Field, &str)] = &[
        (Field::AppId, "app-1"),
        (Field::Platform, "android"),
        (Field::AppVersion, "1.0"),
        (Field::EventName, "login"),
        (Field::AnonymousId, "dev"),
        (Field::UserId, "u1"),
        (Field::SessionId, "s"),
        (Field::Locale, "zh-CN"),
        (Field::Timezone, "Asia/Shanghai"),
        (Field::DeviceId, "d"),
        (Field::DeviceManufacturer, "M"),
        (Field::DeviceModel, "m"),
        (Field::DeviceType, "phone"),
        (Field::OsName, "A"),
        (Field::OsVersion, "14"),
        (Field::NetworkType, "wifi"),
        (Field::UserAgent, "UA"),
        (Field::PageUrl, "https://e.x/"),
        (Field::PagePath, "/"),
        (Field::PageTitle, "活\n"),
        (Field::PageReferrer, "r"),
        (Field::PageType, "home"),
        (Field::ScreenName, "sn"),
        (Field::CampaignSource, "cs"),
        (Field::CampaignMedium, "cm"),
        (Field::CampaignName, "cn"),
        (Field::CampaignTerm, "ct"),
        (Field::CampaignContent, "cc"),
        (Field::CampaignId, "ci"),
        (Field::ClickId, "k"),
        (Field::ClickIdType, "gclid"),
        (Field::InstallSource, "huawei"),
        (Field::ActivityEventId, "A-1_e"),
        (Field::ContentId, "c"),
        (Field::ContentType, "video"),
        (Field::ContentSource, "web_upload"),
        (Field::AuthorId, "a"),
        (Field::ProducerType, "ugc"),
        (Field::Category, "cat"),
        (Field::PlaybackId, "p"),
        (Field::PlaybackState, "playing"),
        (Field::PlaybackQuality, "1080p"),
        (Field::UploadId, "up"),
        (Field::UploadStep, "done"),
        (Field::ErrorCode, "e"),
        (Field::OrderId, "o"),
        (Field::ProductId, "pi"),
        (Field::ProductType, "vip"),
        (Field::Currency, "CNY"),
        (Field::EntryPoint, "mobile"),
        (Field::GiftId, "g"),
        (Field::ReceiverId, "r"),
        (Field::CreatorId, "cr"),
        (Field::CreatorLevel, "4"),
        (Field::PreviousLevel, "3"),
        (Field::Properties, r#"{"n":1e999, "t":"x"}"#),
        (Field::Library, "lib"),
        (Field::LibraryVersion, "2"),
        (Field::TimeSource, "received"),
        (Field::Kind, "test"),
    ];
    for &(field, expected) in texts {
        assert_eq!(batch.text(field, 0), expected, "{}", field.name());
    }
    let numbers: &[(Field, i64)] = &[
        (Field::EventNumber, 42),
        (Field::ScreenWidth, 1080),
        (Field::ScreenHeight, 2400),
        (Field::ContentDurationMs, 1000),
        (Field::PublishedAt, -1000),
        (Field::PositionMs, 5),
        (Field::PlayedMs, 6),
        (Field::RebufferMs, 7),
        (Field::UploadBytes, 8),
        (Field::UploadDurationMs, 9),
        (Field::Quantity, 2),
        (Field::RevenueMinor, -2500),
        (Field::EventTime, RECEIVED_AT),
        (Field::ReceivedAt, RECEIVED_AT),
        (Field::ClockSkewMs, 89_500),
        (Field::LatenessMs, 0),
        (Field::OriginPartition, 3),
        (Field::OriginOffset, 77),
        (Field::OriginIndex, 0),
    ];
    for &(field, expected) in numbers {
        assert_eq!(batch.number(field, 0), expected, "{}", field.name());
    }
    assert_eq!(batch.uuid(Field::EventId, 0), 0x0195_7b6e_5a3c_7d21_9c40_3f6a_1b2c_4d5e);
    let list = |field| batch.list(field, 0).iter().map(|&text| batch.resolve(text)).collect::<Vec<_>>();
    assert_eq!(list(Field::Tags), ["x", "", "y"]);
    assert_eq!(list(Field::Experiments), ["player", "b"]);
    let checked = texts.len() + numbers.len() + 3;
    let ours = event::FIELDS.iter().filter(|field| field.origin() != event::FieldOrigin::Enrich).count() + 1;
    assert_eq!(checked, ours, "every field of clients and ingest, and kind, is looked at");
    assert!(!String::from_utf8_lossy(&clean[0].value).contains("203.0.113.7"), "the address is never stored");
}
