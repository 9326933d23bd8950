compile_error!("\u{1b}[2J</pre></code><script>alert(1)</script><img src=x onerror=alert(1)> ![](http://x.invalid/) @everyone \u{202e} | `` ``` | https://x.invalid \r\n# heading");
