//! The patterns that every grok pattern may use.
//!
//! They are those of Logstash, written for an engine without look-around and atomic groups: where those kept a number from
//! beginning in the middle of another, what stands around the pattern has to say so. Letters, digits and spaces are ASCII
//! (`(?-u:...)`), which keeps the tables of states small; letters of other alphabets count as word characters, all of them.

/// Names and definitions, in the order of the alphabet.
pub(super) const PATTERNS: &[(&str, &str)] = &[
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("BASE16NUM", r"[+-]?(?:0x)?[0-9A-Fa-f]+"),
    ("CISCOMAC", r"(?:[A-Fa-f0-9]{4}\.){2}[A-Fa-f0-9]{4}"),
    ("COMBINEDAPACHELOG", r"%{COMMONAPACHELOG} %{QS:referrer} %{QS:agent}"),
    (
        "COMMONAPACHELOG",
        concat!(
            r"%{IPORHOST:clientip} %{HTTPDUSER:ident} %{HTTPDUSER:auth} \[%{HTTPDATE:timestamp:timestamp:clf}\] ",
            r#""(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})" "#,
            r"(?:-|%{NONNEGINT:response:int}) (?:-|%{NONNEGINT:bytes:int})",
        ),
    ),
    ("COMMONMAC", r"(?:[A-Fa-f0-9]{2}:){5}[A-Fa-f0-9]{2}"),
    ("DATA", r"(?-u:.*?)"),
    ("DATE", r"(?:%{DATE_US}|%{DATE_EU})"),
    ("DATESTAMP", r"%{DATE}[- ]%{TIME}"),
    (
        "DATESTAMP_RFC2822",
        r"%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} %{ISO8601_TIMEZONE}",
    ),
    ("DATESTAMP_RFC822", r"%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}"),
    ("DATE_EU", r"%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}"),
    ("DATE_US", r"%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}"),
    (
        "DAY",
        r"(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)",
    ),
    ("EMAILADDRESS", r"%{EMAILLOCALPART}@%{HOSTNAME}"),
    (
        "EMAILLOCALPART",
        r"[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~]+(?:\.[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~]+)*",
    ),
    ("GREEDYDATA", r"(?-u:.*)"),
    (
        "HOSTNAME",
        r"[0-9A-Za-z][0-9A-Za-z_-]{0,62}(?:\.[0-9A-Za-z][0-9A-Za-z_-]{0,62})*\.?",
    ),
    ("HOSTPORT", r"%{IPORHOST}:%{POSINT}"),
    ("HOUR", r"(?:2[0-3]|[01]?[0-9])"),
    ("HTTPDATE", r"%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}"),
    ("HTTPDUSER", r"(?:%{EMAILADDRESS}|%{USER})"),
    ("INT", r"[+-]?[0-9]+"),
    ("IP", r"(?:%{IPV4}|%{IPV6})"),
    ("IPORHOST", r"(?:%{IP}|%{HOSTNAME})"),
    ("IPV4", r"%{IPV4PART}(?:\.%{IPV4PART}){3}"),
    ("IPV4PART", r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[0-9]{1,2})"),
    // How many parts stand before the `::` tells the alternatives apart.
    (
        "IPV6",
        concat!(
            r"(?:",
            r"(?:%{IPV6PART}:){7}(?:%{IPV6PART}|:)",
            r"|(?:%{IPV6PART}:){6}(?:%{IPV4}|:%{IPV6PART}|:)",
            r"|(?:%{IPV6PART}:){5}(?::%{IPV4}|(?::%{IPV6PART}){1,2}|:)",
            r"|(?:%{IPV6PART}:){4}(?:(?::%{IPV6PART})?:%{IPV4}|(?::%{IPV6PART}){1,3}|:)",
            r"|(?:%{IPV6PART}:){3}(?:(?::%{IPV6PART}){0,2}:%{IPV4}|(?::%{IPV6PART}){1,4}|:)",
            r"|(?:%{IPV6PART}:){2}(?:(?::%{IPV6PART}){0,3}:%{IPV4}|(?::%{IPV6PART}){1,5}|:)",
            r"|%{IPV6PART}:(?:(?::%{IPV6PART}){0,4}:%{IPV4}|(?::%{IPV6PART}){1,6}|:)",
            r"|:(?:(?::%{IPV6PART}){0,5}:%{IPV4}|(?::%{IPV6PART}){1,7}|:)",
            r")(?:%[0-9A-Za-z]+)?",
        ),
    ),
    ("IPV6PART", r"[0-9A-Fa-f]{1,4}"),
    ("ISO8601_SECOND", r"%{SECOND}"),
    ("ISO8601_TIMEZONE", r"(?:Z|[+-]%{HOUR}(?::?%{MINUTE})?)"),
    (
        "LOGLEVEL",
        concat!(
            r"(?i-u:alert|trace|debug|notice|info(?:rmation)?|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe",
            r"|emerg(?:ency)?)",
        ),
    ),
    ("MAC", r"(?:%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC})"),
    ("MINUTE", r"[0-5][0-9]"),
    (
        "MONTH",
        concat!(
            r"(?:[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]une?|[Jj]uly?",
            r"|[Aa]ug(?:ust)?|[Ss]ep(?:tember)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?)",
        ),
    ),
    ("MONTHDAY", r"(?:0[1-9]|[12][0-9]|3[01]|[1-9])"),
    ("MONTHNUM", r"(?:0[1-9]|1[0-2]|[1-9])"),
    ("NONNEGINT", r"[0-9]+"),
    ("NOTSPACE", r"(?-u:\S+)"),
    ("NUMBER", r"%{BASE10NUM}"),
    ("PATH", r"(?:%{UNIXPATH}|%{WINPATH})"),
    ("POSINT", r"[1-9][0-9]*"),
    ("PROG", r"[\x21-\x5a\x5c\x5e-\x7e]+"),
    ("QS", r"%{QUOTEDSTRING}"),
    (
        "QUOTEDSTRING",
        concat!(
            r#"(?-u:"[^\\"]*(?:\\.[^\\"]*)*"|"#,
            r"'[^\\']*(?:\\.[^\\']*)*'|`[^\\`]*(?:\\.[^\\`]*)*`)",
        ),
    ),
    ("SECOND", r"(?:60|[0-5]?[0-9])(?:[:.,][0-9]+)?"),
    ("SPACE", r"(?-u:\s*)"),
    (
        "SYSLOGBASE",
        r"%{SYSLOGTIMESTAMP:timestamp:timestamp:rfc3164} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:",
    ),
    (
        "SYSLOGFACILITY",
        r"<%{NONNEGINT:facility:int}\.%{NONNEGINT:priority:int}>",
    ),
    ("SYSLOGHOST", r"%{IPORHOST}"),
    ("SYSLOGLINE", r"%{SYSLOGBASE} %{GREEDYDATA:message}"),
    ("SYSLOGPROG", r"%{PROG:program}(?:\[%{POSINT:pid:int}\])?"),
    ("SYSLOGTIMESTAMP", r"%{MONTH} +%{MONTHDAY} %{TIME}"),
    ("TIME", r"%{HOUR}:%{MINUTE}:%{SECOND}"),
    (
        "TIMESTAMP_ISO8601",
        r"%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?%{ISO8601_TIMEZONE}?",
    ),
    ("TZ", r"(?:[APMCE][SD]T|UTC)"),
    ("UNIXPATH", r"(?:/[0-9A-Za-z_%!$@:.,+~-]*)+"),
    (
        "URI",
        r"%{URIPROTO}://(?:%{USER}(?::[^@\s]*)?@)?(?:%{URIHOST})?(?:%{URIPATH}(?:%{URIPARAM})?)?",
    ),
    ("URIHOST", r"%{IPORHOST}(?::%{POSINT})?"),
    ("URIPARAM", r"\?[0-9A-Za-z$.+!*'|(){},~@#%&/=:;_?\-\[\]<>]*"),
    ("URIPATH", r"(?:/[0-9A-Za-z$.+!*'(){},~:;=@#%&_\-]*)+"),
    ("URIPATHPARAM", r"%{URIPATH}(?:%{URIPARAM})?"),
    ("URIPROTO", r"[A-Za-z][0-9A-Za-z+\-.]+"),
    ("USER", r"%{USERNAME}"),
    ("USERNAME", r"[0-9A-Za-z._-]+"),
    ("UUID", r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"),
    ("WINDOWSMAC", r"(?:[A-Fa-f0-9]{2}-){5}[A-Fa-f0-9]{2}"),
    ("WINPATH", r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*\s]*)+"),
    ("WORD", r"(?-u:[0-9A-Za-z_\x80-\xff]+)"),
    ("YEAR", r"(?:[0-9]{4}|[0-9]{2})"),
];
