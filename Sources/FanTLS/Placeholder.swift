// FanTLS
