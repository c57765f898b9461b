// FanServer
