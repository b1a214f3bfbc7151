//! Owns tests of files that fastavro 1.12.1 wrote, with the C libraries of snappy and zstandard. Leaves what is made here to
//! `tests`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::AvroFile;
use super::tests::rows;

/// Two rows with some of everything, not compressed.
const ALL: &str = "\
T2JqAQQUYXZyby5jb2RlYwhudWxsFmF2cm8uc2NoZW1hqhp7InR5cGUiOiAicmVjb3JkIiwgImRvYyI6ICJkIiwgIm5hbWUiOiAiYS5iLlJvdy\
IsICJmaWVsZHMiOiBbeyJuYW1lIjogImZsYWciLCAidHlwZSI6ICJib29sZWFuIn0sIHsibmFtZSI6ICJzbWFsbCIsICJ0eXBlIjogImludCJ9\
LCB7Im5hbWUiOiAiaWQiLCAidHlwZSI6ICJsb25nIn0sIHsibmFtZSI6ICJzaW5nbGUiLCAidHlwZSI6ICJmbG9hdCJ9LCB7Im5hbWUiOiAicm\
VhbCIsICJ0eXBlIjogImRvdWJsZSJ9LCB7Im5hbWUiOiAidGV4dCIsICJ0eXBlIjogInN0cmluZyJ9LCB7Im5hbWUiOiAicmF3IiwgInR5cGUi\
OiAiYnl0ZXMifSwgeyJuYW1lIjogImhhc2giLCAidHlwZSI6IHsidHlwZSI6ICJmaXhlZCIsICJuYW1lIjogImEuYi5IYXNoIiwgInNpemUiOi\
A0fX0sIHsibmFtZSI6ICJjb2xvciIsICJ0eXBlIjogeyJ0eXBlIjogImVudW0iLCAibmFtZSI6ICJhLmIuQ29sb3IiLCAic3ltYm9scyI6IFsi\
UkVEIiwgIkdSRUVOIl19fSwgeyJkZWZhdWx0IjogbnVsbCwgIm5hbWUiOiAibWF5YmUiLCAidHlwZSI6IFsibnVsbCIsICJzdHJpbmciLCAibG\
9uZyJdfSwgeyJuYW1lIjogImxpc3QiLCAidHlwZSI6IHsidHlwZSI6ICJhcnJheSIsICJpdGVtcyI6ICJpbnQifX0sIHsibmFtZSI6ICJtYXAi\
LCAidHlwZSI6IHsidHlwZSI6ICJtYXAiLCAidmFsdWVzIjogWyJudWxsIiwgImRvdWJsZSJdfX0sIHsibmFtZSI6ICJwYXJ0IiwgInR5cGUiOi\
B7InR5cGUiOiAicmVjb3JkIiwgIm5hbWUiOiAiYS5iLlBhcnQiLCAiZmllbGRzIjogW3sibmFtZSI6ICJ4IiwgInR5cGUiOiAiaW50In0sIHsi\
bmFtZSI6ICJuZXh0IiwgInR5cGUiOiBbIm51bGwiLCAiYS5iLlBhcnQiXX1dfX0sIHsibmFtZSI6ICJwcmljZSIsICJ0eXBlIjogeyJsb2dpY2\
FsVHlwZSI6ICJkZWNpbWFsIiwgInByZWNpc2lvbiI6IDIwLCAic2NhbGUiOiAyLCAidHlwZSI6ICJieXRlcyJ9fSwgeyJuYW1lIjogImZpeGVk\
IiwgInR5cGUiOiB7ImxvZ2ljYWxUeXBlIjogImRlY2ltYWwiLCAicHJlY2lzaW9uIjogMTAsICJzY2FsZSI6IDMsICJ0eXBlIjogImZpeGVkIi\
wgIm5hbWUiOiAiYS5iLlByaWNlIiwgInNpemUiOiA2fX0sIHsibmFtZSI6ICJrZXkiLCAidHlwZSI6IHsibG9naWNhbFR5cGUiOiAidXVpZCIs\
ICJ0eXBlIjogInN0cmluZyJ9fSwgeyJuYW1lIjogImRheSIsICJ0eXBlIjogeyJsb2dpY2FsVHlwZSI6ICJkYXRlIiwgInR5cGUiOiAiaW50In\
19LCB7Im5hbWUiOiAibXMiLCAidHlwZSI6IHsibG9naWNhbFR5cGUiOiAidGltZS1taWxsaXMiLCAidHlwZSI6ICJpbnQifX0sIHsibmFtZSI6\
ICJ1cyIsICJ0eXBlIjogeyJsb2dpY2FsVHlwZSI6ICJ0aW1lLW1pY3JvcyIsICJ0eXBlIjogImxvbmcifX0sIHsibmFtZSI6ICJhdF9tcyIsIC\
J0eXBlIjogeyJsb2dpY2FsVHlwZSI6ICJ0aW1lc3RhbXAtbWlsbGlzIiwgInR5cGUiOiAibG9uZyJ9fSwgeyJuYW1lIjogImF0X3VzIiwgInR5\
cGUiOiB7ImxvZ2ljYWxUeXBlIjogInRpbWVzdGFtcC1taWNyb3MiLCAidHlwZSI6ICJsb25nIn19LCB7Im5hbWUiOiAiaGVyZV9tcyIsICJ0eX\
BlIjogeyJsb2dpY2FsVHlwZSI6ICJsb2NhbC10aW1lc3RhbXAtbWlsbGlzIiwgInR5cGUiOiAibG9uZyJ9fSwgeyJuYW1lIjogImhlcmVfdXMi\
LCAidHlwZSI6IHsibG9naWNhbFR5cGUiOiAibG9jYWwtdGltZXN0YW1wLW1pY3JvcyIsICJ0eXBlIjogImxvbmcifX1dfQAwMTIzNDU2Nzg5YW\
JjZGVmBLQEAQn+//////////8BmpmZP5qZmZmZmbk/EnTDq3h0ICIxIgb/AAEBAgP/AgICeAYCBNgEAAQCYgACYQIAAAAAAAD4PwACAgQABATO\
//////suSDZiYTdiODEwLTlkYWQtMTFkMS04MGI0LTAwYzA0ZmQ0MzBjOOLEAqqymSuomLG+0QKqoraixGiomPz3rNWwBqqitqLEaKiY/Pes1b\
AGAAD///////////8BAACAfwAAAAAAAPh/AAAAAAAAAAQNAAAAABL/dTjc+3YYAAEAAAAAAABIMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAw\
MDAwMDAwMDAw8+RXAP7/ut2DBf/f5qLioBwB/u/+ofqdc///q8e2vo8BMDEyMzQ1Njc4OWFiY2RlZg==";

/// What they are.
const ALL_ROWS: [&str; 2] = [
    r#"{"flag":true,"small":-5,"id":9223372036854775807,"single":1.2,"real":0.1,"text":"tëxt \"1\"","raw":"/wAB","hash":"AQID/w==","color":"GREEN","maybe":"x","list":[1,2,300],"map":{"a":1.5,"b":null},"part":{"x":1,"next":{"x":2,"next":null}},"price":"12.30","fixed":"-1.234","key":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","day":"2026-11-28","ms":"12:34:56.789","us":"12:34:56.789012","at_ms":"2026-11-28T12:34:56.789Z","at_us":"2026-11-28T12:34:56.789012Z","here_ms":"2026-11-28T12:34:56.789","here_us":"2026-11-28T12:34:56.789012"}"#,
    r#"{"flag":false,"small":0,"id":-9223372036854775808,"single":"Infinity","real":"NaN","text":"","raw":"","hash":"AAAAAA==","color":"RED","maybe":-7,"list":[],"map":{},"part":{"x":0,"next":null},"price":"-99999999999999999.99","fixed":"0.000","key":"00000000-0000-0000-0000-000000000000","day":"0001-01-01","ms":"00:00:00.000","us":"23:59:59.999999","at_ms":"0001-01-01T00:00:00.000Z","at_us":"1969-12-31T23:59:59.999999Z","here_ms":"9999-12-31T23:59:59.999","here_us":"1960-01-02T00:00:00.000000"}"#,
];

/// Sixty rows in several blocks.
const DEFLATE: &str = "\
T2JqAQQUYXZyby5jb2RlYw5kZWZsYXRlFmF2cm8uc2NoZW1h1gF7InR5cGUiOiAicmVjb3JkIiwgIm5hbWUiOiAiciIsICJmaWVsZHMiOiBbey\
JuYW1lIjogIm4iLCAidHlwZSI6ICJsb25nIn0sIHsibmFtZSI6ICJ0IiwgInR5cGUiOiAic3RyaW5nIn1dfQAwMTIzNDU2Nzg5YWJjZGVmNMgB\
Y2Bg4ipJrShRYBEBU2CCTQ7BBhMcGmgCYILLCJsomOCxwSkFJvgYBCDWCiFZK4JurRhWayVwWytFwFoZBjmItQpI1iqhW6uC1Vo13NZqELBWi0\
EHYq0ekrUG6NYaYbUWANw4jzAxMjM0NTY3ODlhYmNkZWYusAEzMSpJrShRwEaY2eCUAhMWDFZcYIaNCELQTg5NlYMGNr1OuK11IWCtG4MHxFov\
JGt90K31w2ptAG5rgwhYG8IQBrE2AsnaKHRrY7BaG4fb2gQC1gIAIgiVMDEyMzQ1Njc4OWFiY2RlZhZqS2JI4SpJrShRSBMBU2AiQw7BBhNZGm\
gCYCLHCJsomMizwSkFJgoYiiDWliBZW4ZuLQBvCzgwMTIzNDU2Nzg5YWJjZGVm";
const SNAPPY: &str = "\
T2JqAQQUYXZyby5jb2RlYwxzbmFwcHkWYXZyby5zY2hlbWHWAXsidHlwZSI6ICJyZWNvcmQiLCAibmFtZSI6ICJyIiwgImZpZWxkcyI6IFt7Im\
5hbWUiOiAibiIsICJ0eXBlIjogImxvbmcifSwgeyJuYW1lIjogInQiLCAidHlwZSI6ICJzdHJpbmcifV19ADAxMjM0NTY3ODlhYmNkZWY0jAKh\
AygAAAIKdGV4dCAEFAUHBQUEBh4FBxkFBAgoGQwZCgQKMhkMOgoABAw8OhEAOg8ACA4AEAl3ABIddwAUPncAABZSdwAAGGZ3AAAaencADBwAHg\
oFigAgHXcAIj53AAAkUncAACZmdwAAKHp3AAgqACwJdwAuHXcAMD53AAAyUncA/+qXcTAxMjM0NTY3ODlhYmNkZWYu/AGgAxg0MnRleHQgTgUA\
BDY8ThYAGRQMOAA6CgUOBDwUBQcFBQQ+HgUHGQUEQCgZDBkKAEJmdwAARHp3AAhGAEgJdwBKHXcATD53AABOUncAAFBmdwAEUjwZnk4KAAhUAF\
YJdwBYHXcAWj53AABcUncAAF5mdwAAYHp3AHgTUeswMTIzNDU2Nzg5YWJjZGVmFogBnQEoYgBkCnRleHQgZhQFBwUFBGgeBQcZBQRqKBkMGQoE\
bDIZDDoKAARuPDoRADoPAAhwAHIJdwB0HXcAdj53AByPC3YwMTIzNDU2Nzg5YWJjZGVm";
const ZSTANDARD: &str = "\
T2JqAQQUYXZyby5jb2RlYxJ6c3RhbmRhcmQWYXZyby5zY2hlbWHWAXsidHlwZSI6ICJyZWNvcmQiLCAibmFtZSI6ICJyIiwgImZpZWxkcyI6IF\
t7Im5hbWUiOiAibiIsICJ0eXBlIjogImxvbmcifSwgeyJuYW1lIjogInQiLCAidHlwZSI6ICJzdHJpbmcifV19ADAxMjM0NTY3ODlhYmNkZWY0\
1gEotS/9YKEADQMAlAIAAAIKdGV4dCAEFAYeCCgKMgw8DgAQEhQWGBocAB4gIiQmKCoALC4wMhoA4BOADhgGBgcaAfaBjwEkwFwwDGgO2Ax8At\
CBYXoYB5f1uQiukJMiEALNRtDCC0QUCbqKFzAxMjM0NTY3ODlhYmNkZWYuxgEotS/9YKAAzQIAVAI0MnRleHQgNjw4ADoKPBQ+HkAoQkRGAEhK\
TE5QUlQAVlhaXF5gFwCgEWAf+BhAAswFw4DmgM3AJwAdMAwMDhrRgz0gBJqNLS28QIwT4piCwAZy0hh0MQIwMTIzNDU2Nzg5YWJjZGVmFoABKL\
Uv/SCdvQEAwGIAZAp0ZXh0IGYUaB5qKGwybjxwAHJ0dg0AAAmYq4cZcAGfi+AKOSkCIdBsBC28QESRoKt4ATAxMjM0NTY3ODlhYmNkZWY=";
const BZIP2: &str = "\
T2JqAQQUYXZyby5jb2RlYwpiemlwMhZhdnJvLnNjaGVtYdYBeyJ0eXBlIjogInJlY29yZCIsICJuYW1lIjogInIiLCAiZmllbGRzIjogW3sibm\
FtZSI6ICJuIiwgInR5cGUiOiAibG9uZyJ9LCB7Im5hbWUiOiAidCIsICJ0eXBlIjogInN0cmluZyJ9XX0AMDEyMzQ1Njc4OWFiY2RlZjT8AUJa\
aDkxQVkmU1nq8hIqAAAAeYBVVVVVVVVQBAIABEAgAGglU/VHpBk0aDRoASaqIPUMmmmg2o2klfnOxgdDThhyMMq+UDYy3p7UFqAAQd6zo3Vnv7\
XWv7CBAtAgUowWCwWeEFBQU+MWLHkXCimSq7S0CBuLuSKcKEh1eQkVADAxMjM0NTY3ODlhYmNkZWYu8AFCWmg5MUFZJlNZ1luo8wAALv+AQBAE\
AUBAFVVVVVVVQgAEQCAAaDJRoGgGhjUYgJNVRpkyMmRoGTCYbQydHXlXP79BBAesoL5OJ6Skp0YRYgKIRmCCG5CBwmbBYLJ+QUFJoxYsNUUU2V\
V+huQgfxdyRThQkNZbqPMwMTIzNDU2Nzg5YWJjZGVmFqoBQlpoOTFBWSZTWdc8DOUAABN5gEAQBAFAQBAEF1VVQCAAUKBpoZGTEG0lGgBtBOJ6\
t7fEwCLXxXygIhEPIIfzE3VpSmWau8UhZBH4u5IpwoSGueBnKDAxMjM0NTY3ODlhYmNkZWY=";

#[test]
fn rows_of_another_writer_are_what_was_written() {
    let read: Vec<_> = rows(&STANDARD.decode(ALL).unwrap()).into_iter().map(Result::unwrap).collect();
    assert_eq!(read, ALL_ROWS);
    for file in [DEFLATE, SNAPPY, ZSTANDARD] {
        let read: Vec<_> = rows(&STANDARD.decode(file).unwrap()).into_iter().map(Result::unwrap).collect();
        let expected = (0..60).map(|number| format!(r#"{{"n":{number},"t":"{}"}}"#, "text ".repeat(number % 7)));
        assert_eq!(read, expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_codec_that_is_not_read_is_named() {
    let why = AvroFile::open(&STANDARD.decode(BZIP2).unwrap()).err().unwrap().why;
    assert_eq!(why, "its codec can't be read, only `null`, `deflate`, `snappy` and `zstandard` can; codec=`bzip2`");
}
