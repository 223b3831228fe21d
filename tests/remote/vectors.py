"""Malicious addresses."""

# Refused on input, without a look-up: (address, code)
REFUSED = [
    # numbers that some parsers read as 127.0.0.1 or 169.254.169.254
    ("http://2130706433/", "host"),
    ("http://0177.0.0.1/", "host"),
    ("http://0x7f.1/", "host"),
    ("http://0x7f000001/", "host"),
    ("http://0X7F.0X0.0X0.0X1/", "host"),
    ("http://017700000001/", "host"),
    ("http://127.1/", "host"),
    ("http://127.0.1/", "host"),
    ("http://0/", "host"),
    ("http://00000/", "host"),
    ("http://127.0.0.01/", "host"),
    ("http://127.000.000.001/", "host"),
    ("http://0127.0.0.1/", "host"),
    ("http://127.0.0.0x1/", "host"),
    ("http://127.0.0.1.1/", "host"),
    ("http://256.256.256.256/", "host"),
    ("http://425.510.425.510/", "host"),
    ("http://2852039166/", "host"),
    ("http://7147006462/", "host"),
    ("http://0xa9fea9fe/", "host"),
    ("http://0251.0376.0251.0376/", "host"),
    ("http://0251.254.169.254/", "host"),
    ("http://169.254.43518/", "host"),
    ("http://169.16689662/", "host"),
    ("http://0x0a9fea9fe/", "host"),
    ("http://example.0x/", "host"),
    ("http://example.1/", "host"),
    ("http://-1/", "host"),
    # zones
    ("http://[fe80::1%25lo]/", "host"),
    ("http://[::1%25lo]/", "host"),
    ("http://[::1%lo]/", "host"),
    ("http://[fe80::1%251]/", "host"),
    # localhost and trailing dots
    ("http://localhost/", "host"),
    ("http://LOCALHOST/", "host"),
    ("http://LocalHost:80/", "host"),
    ("http://localhost./", "host"),
    ("http://me.localhost/", "host"),
    ("http://127.0.0.1./", "host"),
    ("http://169.254.169.254./", "host"),
    ("http://example.com./", "host"),
    ("http://[::1]./", "host"),
    # characters that are mapped to others
    ("http://①②⑦.⓪.⓪.①/", "host"),
    ("http://⑯⑨。②⑤④。⑯⑨｡②⑤④/", "host"),
    ("http://１２７.０.０.１/", "host"),
    ("http://127。0。0。1/", "host"),
    ("http://127．0．0．1/", "host"),
    ("http://local\u00adhost/", "invalid_url"),
    ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "host"),
    ("http://loca\u1e9fhost/", "host"),
    ("http://\u017fecret.example/", "host"),
    ("http://\u212aelvin.example/", "host"),
    ("http://exa\u200bmple.com/", "invalid_url"),
    ("http://\ufeffexample.com/", "invalid_url"),
    ("http://münchen.example/", "host"),
    ("http://127%2e0%2e0%2e1/", "host"),
    ("http://%31%32%37.0.0.1/", "host"),
    ("http://%6c%6f%63%61%6c%68%6f%73%74/", "host"),
    ("http://example.com%00.evil.example/", "host"),
    ("http://example.com%2f@127.0.0.1/", "invalid_url"),
    ("http://٠.٠.٠.٠/", "host"),
    ("http://１27.0.0.1/", "host"),
    # other schemes
    ("file:///etc/passwd", "scheme"),
    ("file://127.0.0.1/etc/passwd", "scheme"),
    ("FILE:///etc/passwd", "scheme"),
    ("ftp://example.com/photo.jpg", "scheme"),
    ("sftp://example.com/photo.jpg", "scheme"),
    ("tftp://example.com:12346/photo.jpg", "scheme"),
    ("gopher://127.0.0.1:6379/_INFO", "scheme"),
    ("dict://127.0.0.1:11211/stats", "scheme"),
    ("ldap://127.0.0.1/", "scheme"),
    ("data:image/png;base64,iVBORw0KGgo=", "scheme"),
    ("netdoc:///etc/passwd", "scheme"),
    ("jar:http://127.0.0.1!/", "scheme"),
    ("php://filter/resource=x", "scheme"),
    ("http+unix://%2Fvar%2Frun%2Fdocker.sock/info", "scheme"),
    ("unix:///var/run/docker.sock", "scheme"),
    ("javascript:alert(1)", "scheme"),
    ("blob:http://example.com/1", "scheme"),
    ("view-source:http://127.0.0.1/", "scheme"),
    ("ws://example.com/", "scheme"),
    ("url:http://127.0.0.1/", "scheme"),
    ("s3://bucket/key", "scheme"),
    ("//127.0.0.1/", "scheme"),
    ("/etc/passwd", "scheme"),
    ("127.0.0.1", "scheme"),
    ("", "scheme"),
    (":", "scheme"),
    ("httpſ://example.com/", "scheme"),
    # parsers disagree on which part is the host
    ("http://user:pw@example.com/", "invalid_url"),
    ("http://user@example.com/", "invalid_url"),
    ("http://@example.com/", "invalid_url"),
    ("http://:@example.com/", "invalid_url"),
    ("http://example.com@127.0.0.1/", "invalid_url"),
    ("http://example.com:80@127.0.0.1/", "invalid_url"),
    ("http://example.com\\@127.0.0.1/", "invalid_url"),
    ("http://127.0.0.1\\@example.com/", "invalid_url"),
    ("http:\\\\127.0.0.1\\", "invalid_url"),
    ("http://a@example.com:80@127.0.0.1/", "invalid_url"),
    ("http://example.com &@127.0.0.1# @10.0.0.1/", "invalid_url"),
    ("http://127.0.0.1:80\\@@127.0.0.1:80/", "invalid_url"),
    ("http://exam ple.com/", "invalid_url"),
    ("http://example.com/a b", "invalid_url"),
    (" http://example.com/", "invalid_url"),
    ("http://example.com/ ", "invalid_url"),
    ("http://exam\tple.com/", "invalid_url"),
    ("ht\ntp://127.0.0.1/", "invalid_url"),
    ("http://127.0.0.1\n/", "invalid_url"),
    ("http://example.com/\x00", "invalid_url"),
    ("http://example.com\x00.evil.example/", "invalid_url"),
    ("http://example.com/\r\nHost: 127.0.0.1", "invalid_url"),
    ("http://example.com/ HTTP/1.1\r\nX-Injected: 1\r\n\r\n", "invalid_url"),
    ("http://example.com/\u2028", "invalid_url"),
    ("http://example.com/\u00a0", "invalid_url"),
    ("http://example.com/\u0085", "invalid_url"),
    ("http://example.com/\ud800", "invalid_url"),
    ("http://example.com/\u202egpj.x", "invalid_url"),
    ("http://example.com/" + "a" * 9000, "invalid_url"),
    ("http:example.com/", "invalid_url"),
    ("http:/127.0.0.1/", "invalid_url"),
    ("http:///127.0.0.1/", "host"),
    ("http://", "host"),
    ("http:///", "host"),
    ("http://?", "host"),
    ("http://#@127.0.0.1/", "host"),
    ("http://./", "host"),
    ("http://.example.com/", "host"),
    ("http://a..example.com/", "host"),
    ("http://-a.example.com/", "host"),
    ("http://" + "a" * 64 + ".example.com/", "host"),
    ("http://" + "a." * 130 + "example/", "host"),
    ("http://ex*mple.com/", "host"),
    ("http://exa<mple.com/", "host"),
    ("http://127.0.0.1,example.com/", "host"),
    ("http://127.0.0.1;example.com/", "host"),
    ("http://{host}/", "host"),
    ("http://[::1/", "host"),
    ("http://::1/", "host"),
    ("http://[]/", "host"),
    ("http://[:]/", "host"),
    ("http://[127.0.0.1]/", "host"),
    ("http://[::1]example.com/", "host"),
    ("http://[[::1]]/", "host"),
    ("http://[::ffff:127.0.0.01]/", "host"),
    ("http://[::ffff:0x7f.1]/", "host"),
    ("http://[v1.fe80]/", "host"),
    ("http://[1:2:3:4:5:6:7:8:9]/", "host"),
    # ports
    *[
        (f"http://example.com:{port}/", "port")
        for port in (
            *(22, 25, 53, 111, 2375, 3306, 5432, 6379, 8000, 8080, 9000, 9200, 11211, 27017),
            *("65536", "0", "080", "0x50", "-80", "+80", "80:80", "", "80a", "８０", "99999999999", "80%20"),
        )
    ],
    ("http://127.0.0.1:6379/", "port"),
    ("http://[::1]:6379/", "port"),
    ("https://169.254.169.254:8443/", "port"),
]

# well-formed addresses that are not public
PRIVATE_IPV4 = """
127.0.0.1 127.8.8.8 127.255.255.255 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255
169.254.169.254 169.254.170.2 169.254.169.123 100.100.100.200 192.0.0.192 168.63.129.16 0.0.0.0 0.1.2.3
100.64.0.1 100.127.255.255 198.18.0.1 198.19.255.255 192.0.2.1 198.51.100.1 203.0.113.1 192.88.99.1
192.0.0.1 192.0.0.170 192.31.196.1 192.52.193.1 192.175.48.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.254 255.255.255.255
""".split()  # noqa: SIM905
PRIVATE_IPV6 = """
:: ::1 0:0:0:0:0:0:0:1 ::2 ::ffff:127.0.0.1 ::ffff:a9fe:a9fe ::ffff:8.8.8.8 ::ffff:0:a9fe:a9fe ::ffff:0:127.0.0.1
::a9fe:a9fe ::127.0.0.1 ::10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::127.0.0.1 64:ff9b:1::a9fe:a9fe 64:ff9b:1::1
2002:a9fe:a9fe:: 2002:7f00:1:: 2002:0a00:0001::1 2001::1 2001:0:a9fe:a9fe:: 2001:0000:4136:e378:8000:63bf:3fff:fdd2
2001:2::1 2001:10::1 2001:20::1 2001:1::1 2001:4:112::1 2001:db8::1 2001:db8:ffff::1 3fff::1 3fff:fff::1
2620:4f:8000::1 fd00:ec2::254 fd00::1 fc00::1 fdff::1 fe80::1 fe80::a9fe:a9fe febf::1 fec0::1 feff::1
5f00::1 100::1 100:0:0:1::1 4000::1 8000::1 ff02::1 ff0e::1
""".split()  # noqa: SIM905
BLOCKED = [f"http://{address}/" for address in PRIVATE_IPV4] + [f"http://[{address}]/" for address in PRIVATE_IPV6]

PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 93.184.216.34 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.1 172.15.255.255 172.32.0.1 191.255.255.255 192.0.1.1
192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255
2606:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 2001:200::1 2400::1 2c0f::1 3ffe::1
""".split()  # noqa: SIM905
