internal import FanCommand
