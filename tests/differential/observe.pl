# The observer: the program that is run directly and through prefork. It tells what it sees of itself
# into the FIFO $REPORT, does what $PLAN says (it reads, writes, makes a file), tells how that went,
# and ends as told. Its arguments and its environment are not its own: they are part of the case.
#
# It must not add to what it looks at. So it loads no module, asks for its descriptors by number and
# not by listing a directory, and closes what it opens before it goes on. The prologue, written by
# launcher.ts, gives the paths and %NR, the numbers of the system calls.
use strict;
use warnings;
no warnings qw(once portable);
our ( $PLAN, $REPORT, %NR );

my ( $GETFD, $TCGETS, $KCMP_FILE, $NOFILE, $LIMITS ) = ( 1, 0x5401, 0, 7, 16 );
my $NUMBERS = 1100;

my @said;
sub say_that { my ( $name, $text ) = @_; push @said, "$name " . length($text) . "\n$text\n" }

my @open = grep { syscall( $NR{fcntl}, $_, $GETFD, 0 ) >= 0 } 0 .. $NUMBERS - 1;

# The limits come before all that opens a descriptor: a low one on their number is put aside then.
my @limits;
for my $resource ( 0 .. $LIMITS - 1 ) {
  my $pair = "\0" x 16;
  syscall( $NR{prlimit64}, 0, $resource, 0, $pair );
  push @limits, join " ", $resource, unpack "QQ", $pair;
  next if $resource != $NOFILE;
  my $raised = pack "QQ", ( unpack "QQ", $pair )[ 1, 1 ];
  syscall( $NR{prlimit64}, 0, $resource, $raised, 0 );
}

say_that( "arguments",   slurp("/proc/self/cmdline") );
say_that( "environment", slurp("/proc/self/environ") );
say_that( "directory",   ( readlink("/proc/self/cwd") // "$!" ) . ( -d "." ? "" : " (no directory)" ) );
say_that( "executable",  readlink("/proc/self/exe") // "$!" );
say_that( "limits",      join "\n", @limits );
say_that( "niceness",    getpriority( 0, 0 ) );
say_that( "umask",       sprintf "%03o", umask );
my @status = split /\n/, slurp("/proc/self/status");
say_that( "signals",     join "\n", grep { /^(Sig(Pnd|Blk|Ign|Cgt)|ShdPnd):/ } @status );
say_that( "credentials", join "\n", grep { /^(Uid|Gid|Groups|NoNewPrivs|Cap\w+|Name):/ } @status );
say_that( "descriptors", join "\n", descriptors(@open) );
report();

my @ending = ( "exit", 0 );
my @acts;
for ( split /\n/, slurp($PLAN) ) {
  my ( $verb, @words ) = split / /;
  if ( $verb eq "end" ) { @ending = @words }
  elsif ( $verb eq "write" ) { push @acts, "$_: " . write_to(@words) }
  elsif ( $verb eq "read" ) { push @acts, "$_: " . read_from(@words) }
  elsif ( $verb eq "make" ) { push @acts, "$_: " . make(@words) }
}
say_that( "acts", join "\n", @acts );
report();

my ( $kind, $number, $how ) = @ending;
$number += 0;
exit $number if $kind eq "exit";
if ( $how eq "surely" ) {
  my ( $default, $none ) = ( "\0" x 32, "\0" x 8 );
  syscall( $NR{rt_sigaction}, $number, $default, 0, 8 );
  syscall( $NR{rt_sigprocmask}, 2, $none, 0, 8 );
}
syscall( $NR{kill}, $$ + 0, $number );
exit 0;

sub descriptors {
  my @lines;
  my %first;
  for my $number (@_) {
    my $target = readlink("/proc/self/fd/$number") // "$!";
    my $info = slurp("/proc/self/fdinfo/$number");
    my ($position) = $info =~ /^pos:\s*(\d+)$/m;
    my ($flags)    = $info =~ /^flags:\s*(\d+)$/m;
    my $identity = identity($number);
    my $termios  = "\0" x 64;
    my $terminal = syscall( $NR{ioctl}, $number, $TCGETS, $termios ) == 0 ? " terminal" : "";
    my ($same) = grep { kcmp( $_, $number ) } @{ $first{$identity} // [] };
    push @{ $first{$identity} }, $number;
    my $shared = defined $same ? " same-as-$same" : "";
    push @lines, "$number $identity $target at $position flags $flags$terminal$shared";
  }
  return @lines;
}

# Device and inode, from stat through /proc: the name may be one of no file.
sub identity { my @stat = stat "/proc/self/fd/$_[0]"; return @stat ? "$stat[0]:$stat[1]" : "none" }

# Whether two numbers are one open file description.
sub kcmp { return syscall( $NR{kcmp}, $$ + 0, $$ + 0, $KCMP_FILE, $_[0], $_[1] ) == 0 }

sub write_to {
  my ( $number, $hex ) = @_;
  my $bytes = pack "H*", substr( $hex, 1 );
  my $count = syscall( $NR{write}, $number + 0, $bytes, length $bytes );
  return $count < 0 ? "$!" : "$count bytes";
}

sub read_from {
  my ( $number, $count ) = @_;
  my $buffer = "\0" x ( $count + 1 );
  my $got = syscall( $NR{read}, $number + 0, $buffer, $count + 0 );
  return $got < 0 ? "$!" : "'" . unpack( "H*", substr( $buffer, 0, $got ) ) . "'";
}

sub make {
  my $path = pack "H*", substr( $_[0], 1 );
  open( my $file, ">", $path ) or return "$!";
  return "made";
}

sub slurp {
  open( my $file, "<", $_[0] ) or return "$_[0]: $!";
  local $/;
  return scalar(<$file>) // "";
}

sub report {
  my $all = join "", splice @said;
  open( my $fifo, ">", $REPORT ) or return;
  for ( my $at = 0 ; $at < length $all ; ) {
    $at += syswrite( $fifo, $all, 65536, $at ) // return;
  }
}
