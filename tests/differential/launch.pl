# The launcher: reads cases from stdin, runs each as it says, and prints what can be seen from
# outside. It is one process for all cases of a run, since a case must not cost more than the
# processes it is about.
#
# A request is lines of words, the last one `go`; a word of bytes is an `x` and their hex digits.
# The answer is lines of the same form, the last one `done`. The prologue, written by launcher.ts,
# gives $CASE, the directory that is made anew for each case; $PLAN and $REPORT, of the observer;
# $TIMEOUT in seconds; and %NR, the numbers of the system calls.
use strict;
use warnings;
no warnings qw(once portable);
use Fcntl qw(:DEFAULT :mode :seek);
use POSIX ();
use Socket;
our ( $CASE, $PLAN, $REPORT, $TIMEOUT, %NR );

# Our own descriptors stand from here on: those below are the case's.
my $FLOOR = 400;
my ( $F_DUPFD_CLOEXEC, $F_GETFL, $F_SETFL ) = ( 1030, 3, 4 );
my $O_PATH = 010000000;
my ( $TCGETS, $TCSETS, $TIOCSPTLCK, $TIOCGPTN, $FIONREAD ) =
  ( 0x5401, 0x5402, 0x40045431, 0x80045430, 0x541b );
my $ECHO = 010;
my ( $SIGNALS, $SIGCHLD ) = ( 64, 17 );
my $PTY_END = "\0\1end\1\0\n";

my $requests = high( POSIX::dup(0) );
my $answers  = high( POSIX::dup(1) );
POSIX::open( "/dev/null", O_RDWR );
POSIX::dup2( 2, 1 ), POSIX::close(0);
POSIX::open( "/dev/null", O_RDWR );
$SIG{PIPE} = "DEFAULT";
umask 022;

my $unread = "";
my @request;
while ( defined( my $line = next_line() ) ) {
  if ( $line ne "go" ) { push @request, $line; next }
  my @answer = eval { run( splice @request ) };
  @answer = ( "broken " . hex_of("$@") ) if $@;
  put( join "", map { "$_\n" } @answer, "done" );
}
exit 0;

# Runs one case. @returns the lines that tell how it went.
sub run {
  my %case = ( things => [], installed => {}, limits => [], ignored => [], blocked => [] );
  $case{steps} = [ map { [ split / / ] } @_ ];
  clear($CASE);
  mkdir $CASE, 0755 or die "$CASE: $!";
  for ( @{ $case{steps} } ) {
    my ( $verb, @words ) = @$_;
    my $step = $main::{"step_$verb"} or die "no such step: $verb";
    &$step( \%case, @words );
  }
  unlink $REPORT;
  POSIX::mkfifo( $REPORT, 0666 ) or die "$REPORT: $!";
  my %taken;
  my $report = high( POSIX::open( $REPORT, O_RDWR | O_NONBLOCK ) );
  $taken{$report} = "";
  for my $thing ( @{ $case{things} } ) {
    next if !defined $thing->{kept};
    set_flag( $thing->{kept}, O_NONBLOCK );
    $taken{ $thing->{kept} } = "";
  }
  my $status = await( start( \%case ), \%taken );
  for ( @{ $case{things} } ) { finish_terminal( $_, \%taken ) if $_->{kind} eq "terminal" }
  my @answer = ("end $status");
  push @answer, "report " . hex_of( $taken{$report} );
  POSIX::close($report);
  my $index = 0;
  for my $thing ( @{ $case{things} } ) {
    push @answer, map { "thing $index $_" } after( $thing, \%taken );
    $index++;
  }
  push @answer, files_below( $CASE, "" );
  for my $thing ( @{ $case{things} } ) {
    POSIX::close($_) for grep { defined } @$thing{qw(given kept)};
  }
  POSIX::close($_) for @{ $case{busy} // [] };
  return @answer;
}

# Starts the command as a shell would: a process takes on limits, directory and ignored signals, and
# has a child that becomes the command. (The client asks its parent for what Bun has changed.)
# @returns the command's pid, and a pipe that will give its wait status.
sub start {
  my ($case) = @_;
  my ( $reading, $writing ) = map { high($_) } POSIX::pipe();
  my $shell = fork // die "fork: $!";
  if ( $shell == 0 ) {
    eval {
      prepare($case);
      my $pid = fork // die "fork: $!";
      if ( $pid == 0 ) {
        eval { become($case) };
        syswrite STDERR, "launch.pl: $@";
        POSIX::_exit(250);
      }
      write_all( $writing, "$pid\n" );
      waitpid $pid, 0;
      write_all( $writing, "$?\n" );
    };
    write_all( $writing, "broken $@" ) if $@;
    POSIX::_exit(0);
  }
  POSIX::close($writing);
  my $pid = "";
  until ( $pid =~ /\n/ ) {
    my $count = POSIX::read( $reading, my $byte, 1 );
    last if !defined $count || $count == 0;
    $pid .= $byte;
  }
  die $pid if $pid !~ /^\d+\n/;
  return { pid => $pid + 0, shell => $shell, status => $reading };
}

# Puts everything in place that does not come in the way of starting another process.
sub prepare {
  my ($case) = @_;
  for my $signal ( 1 .. $SIGNALS ) { act_on( $signal, 0 ) }
  act_on( $_, 1 ) for grep { $_ != $SIGCHLD } @{ $case->{ignored} };
  $case->{enter}->() if $case->{enter};
  my %installed = %{ $case->{installed} };
  for my $number ( sort { $a <=> $b } keys %installed ) {
    my $given = $case->{things}[ $installed{$number} ]{given};
    POSIX::dup2( $given, $number ) // die "dup2: $!";
  }
  my $from = 0;
  for my $number ( sort( { $a <=> $b } keys %installed ), $FLOOR ) {
    syscall( $NR{close_range}, $from, $number - 1, 0 ) if $from < $number;
    $from = $number + 1;
  }
  for my $limit ( @{ $case->{limits} } ) {
    my ( $resource, $soft, $hard ) = @$limit;
    my $pair = "\0" x 16;
    syscall( $NR{prlimit64}, 0, $resource + 0, 0, $pair );
    $hard = ( unpack "QQ", $pair )[1] if $hard eq "kept";
    $soft = $hard if $soft eq "hard";
    $pair = pack "QQ", map { $_ eq "max" ? ~0 : $_ } $soft, $hard;
    syscall( $NR{prlimit64}, 0, $resource + 0, $pair, 0 ) == 0 or die "limit $resource: $!";
  }
}

# Takes on the rest and becomes the command. Returns by dying only.
sub become {
  my ($case) = @_;
  setpriority( 0, 0, $case->{niceness} ) // die "setpriority: $!" if defined $case->{niceness};
  act_on( $_, 1 ) for @{ $case->{ignored} };
  my $mask = "\0" x 8;
  vec( $mask, $_ - 1, 1 ) = 1 for @{ $case->{blocked} };
  my @argv = @{ $case->{argv} };
  my @env  = @{ $case->{env} };
  my ( $words, $entries ) = map { pack( "p" x @$_, @$_ ) . pack( "Q", 0 ) } \@argv, \@env;
  my $program = $case->{program};
  umask $case->{umask};
  syscall( $NR{rt_sigprocmask}, 2, $mask, 0, 8 );
  syscall( $NR{execve}, $program, $words, $entries );
  die "$program: $!\n";
}

# Sets the default action (0), or ignores (1), by the bare system call: libc keeps two for itself.
sub act_on {
  my ( $signal, $handler ) = @_;
  my $action = pack "QQQQ", $handler, 0, 0, 0;
  syscall( $NR{rt_sigaction}, $signal, $action, 0, 8 );
}

# Waits until the command has ended, and takes meanwhile what is written to the keys of %$taken.
# @returns its wait status, or "hung" when it had to be killed.
sub await {
  my ( $started, $taken ) = @_;
  my $said     = $started->{status};
  my $deadline = time + $TIMEOUT;
  my $readable = "";
  vec( $readable, $_, 1 ) = 1 for $said, keys %$taken;
  my $hung;
  for ( ; ; ) {
    my $ready = $readable;
    my $count = select( $ready, undef, undef, 1 );
    if ( $count > 0 ) {
      for my $fd ( keys %$taken ) {
        next if !vec( $ready, $fd, 1 );
        vec( $readable, $fd, 1 ) = 0 if !take( $fd, $taken );
      }
      last if vec( $ready, $said, 1 );
    }
    elsif ( time > $deadline && !$hung ) {
      $hung = 1;
      kill KILL => $started->{pid};
    }
  }
  my %status = ( $said => "" );
  take( $said, \%status );
  POSIX::close($said);
  waitpid $started->{shell}, 0;
  take( $_, $taken ) for keys %$taken;
  die "no wait status" if $status{$said} !~ /^(\d+)\n/;
  return $hung ? "hung" : $1;
}

# Takes what can be read now. @returns whether more may come.
sub take {
  my ( $fd, $taken ) = @_;
  for ( ; ; ) {
    my $count = POSIX::read( $fd, my $bytes, 65536 );
    return $!{EAGAIN} if !defined $count;
    return 0 if $count == 0;
    $taken->{$fd} .= substr $bytes, 0, $count;
  }
}

# A terminal hands over what was written at some later time: an end mark shows that all is there.
sub finish_terminal {
  my ( $thing, $taken ) = @_;
  my ( $given, $kept ) = @$thing{qw(given kept)};
  my $mark = $PTY_END =~ s/\n/\r\n/r;
  $thing->{flags} = syscall( $NR{fcntl}, $given, $F_GETFL, 0 );
  my $termios = "\0" x 64;
  syscall( $NR{ioctl}, $given, $TCGETS, $termios );
  $thing->{termios} = unpack "H*", substr( $termios, 0, 36 );
  POSIX::write( $given, $PTY_END, length $PTY_END );
  until ( $taken->{$kept} =~ s/\Q$mark\E$// ) {
    my $readable = "";
    vec( $readable, $kept, 1 ) = 1;
    select( $readable, undef, undef, 5 ) > 0 or die "the terminal does not hand over";
    take( $kept, $taken );
  }
}

# What is to be seen of a thing when all is over: lines.
sub after {
  my ( $thing, $taken ) = @_;
  my $given = $thing->{given};
  my @lines = "identity $thing->{identity} " . hex_of( $thing->{name} );
  my $flags = $thing->{flags} // syscall( $NR{fcntl}, $given, $F_GETFL, 0 );
  push @lines, sprintf "flags %o", $flags;
  push @lines, "termios $thing->{termios}" if $thing->{termios};
  my $position = POSIX::lseek( $given, 0, SEEK_CUR );
  push @lines, "position " . ( $position + 0 ) if defined $position;
  push @lines, "received " . hex_of( $taken->{ $thing->{kept} } ) if defined $thing->{kept};

  if ( $thing->{holds} ) {
    set_flag( $given, O_NONBLOCK );
    my %left = ( $given => "" );
    take( $given, \%left );
    push @lines, "left " . hex_of( $left{$given} );
  }
  if ( $thing->{nameless} ) {
    push @lines, "content " . hex_of( content_of("/proc/self/fd/$given") );
  }
  return @lines;
}

# The steps of a request, each with the case and its words.

sub step_program { $_[0]{program} = bytes( $_[1] ) }
sub step_argv { my $case = shift; $case->{argv} = [ map { bytes($_) } @_ ] }
sub step_env { my $case = shift; $case->{env} = [ map { bytes($_) } @_ ] }
sub step_umask { $_[0]{umask} = oct $_[1] }
sub step_niceness { $_[0]{niceness} = getpriority( 0, 0 ) + $_[1] }
sub step_limit { my $case = shift; push @{ $case->{limits} }, [@_] }
sub step_ignore { my $case = shift; push @{ $case->{ignored} }, map { $_ + 0 } @_ }
sub step_block { my $case = shift; push @{ $case->{blocked} }, map { $_ + 0 } @_ }
sub step_install { $_[0]{installed}{ $_[1] } = $_[2] }

sub step_plan {
  my ( $case, $text ) = @_;
  write_file( $PLAN, 0644, bytes($text) );
}

sub step_file {
  my ( $case, $path, $mode, $content ) = @_;
  write_file( in_case($path), oct $mode, bytes($content) );
}

sub step_directory { mkdir in_case( $_[1] ), 0755 or die "mkdir: $!" }

sub step_link { symlink bytes( $_[2] ), in_case( $_[1] ) or die "symlink: $!" }

# Holds a file open for writing, so that it cannot be executed.
sub step_busy { push @{ $_[0]{busy} }, high( POSIX::open( in_case( $_[1] ), O_WRONLY ) ) }

# Where the command starts: `enter KIND [DETAIL]`.
sub step_enter {
  my ( $case, $kind, $detail ) = @_;
  my $into = sub { my ($path) = @_; chdir $path or die "chdir $path: $!" };
  my $path = $kind eq "outside" ? bytes($detail) : $kind eq "inside" ? in_case($detail) : "$CASE/there";
  if ( $kind eq "inside" ) { mkdir $path if !-d $path }
  elsif ( $kind ne "outside" ) { mkdir $path or die "mkdir: $!" }
  $case->{enter} = sub { $into->($path) };
  if ( $kind eq "deleted" ) {
    $case->{enter} = sub { $into->($path); rmdir $path or die "rmdir: $!" };
  }
  elsif ( $kind eq "moved" ) {
    $case->{enter} = sub { $into->($path); rename $path, "$CASE/moved" or die "rename: $!" };
  }
  elsif ( $kind eq "linked" ) {
    symlink "there", "$CASE/linked";
    $case->{enter} = sub { $into->("$CASE/linked") };
  }
  elsif ( $kind eq "mode" ) {
    $case->{enter} = sub { $into->($path); chmod oct($detail), "." };
  }
  elsif ( $kind eq "deep" ) {
    my $name = "d" x 250;
    $case->{enter} = sub {
      $into->($path);
      for ( 1 .. $detail ) { mkdir $name, 0755; $into->($name) }
    };
  }
}

# A thing that descriptors can lead to: `thing KIND WORD…`.
sub step_thing {
  my ( $case, $kind, @words ) = @_;
  my $open = $main::{"thing_$kind"} or die "no such thing: $kind";
  my %thing = ( kind => $kind, &$open(@words) );
  for my $end (qw(given kept)) { $thing{$end} = high( $thing{$end} ) if defined $thing{$end} }
  my @stat = stat "/proc/self/fd/$thing{given}";
  $thing{identity} = "$stat[0]:$stat[1]";
  $thing{name} = readlink "/proc/self/fd/$thing{given}";
  push @{ $case->{things} }, \%thing;
}

sub thing_file {
  my ( $path, $flags, $offset, $unlinks ) = @_;
  my $given = POSIX::open( in_case($path), open_flags($flags) ) // die "open: $!";
  POSIX::lseek( $given, $offset, SEEK_SET );
  unlink in_case($path) if $unlinks;
  return ( given => $given, nameless => $unlinks );
}

sub thing_outside {
  my ( $path, $flags ) = @_;
  return ( given => POSIX::open( bytes($path), open_flags($flags) ) // die "open: $!" );
}

sub thing_memory {
  my ( $content, $offset ) = @_;
  my $name = "case";
  my $given = syscall( $NR{memfd_create}, $name, 0 );
  write_all( $given, bytes($content) );
  POSIX::lseek( $given, $offset, SEEK_SET );
  return ( given => $given, nameless => 1 );
}

# The end of a pipe to read from, with data in it; `writer` says whether the other end stays open.
sub thing_source {
  my ( $content, $writer, $flags ) = @_;
  my ( $given, $kept ) = POSIX::pipe();
  write_all( $kept, bytes($content) );
  set_flag( $given, O_NONBLOCK ) if $flags =~ /n/;
  POSIX::close($kept) if !$writer;
  # Kept open, but nothing can be read there.
  return ( given => $given, holds => 1, $writer ? ( kept => $kept ) : () );
}

# The end of a pipe to write to; `reader` says whether somebody reads.
sub thing_sink {
  my ( $reader, $flags ) = @_;
  my ( $kept, $given ) = POSIX::pipe();
  set_flag( $given, O_NONBLOCK ) if $flags =~ /n/;
  POSIX::close($kept) if !$reader;
  return ( given => $given, $reader ? ( kept => $kept ) : () );
}

sub thing_fifo {
  my ( $path, $content ) = @_;
  POSIX::mkfifo( in_case($path), 0644 ) or die "mkfifo: $!";
  my $given = POSIX::open( in_case($path), O_RDWR ) // die "open: $!";
  write_all( $given, bytes($content) );
  return ( given => $given, holds => 1 );
}

sub thing_socket {
  my ( $type, $content, $peer, $flags ) = @_;
  my %types = ( stream => SOCK_STREAM, datagram => SOCK_DGRAM, packets => 5 );
  my $pair = "\0" x 8;
  syscall( $NR{socketpair}, AF_UNIX, $types{$type}, 0, $pair ) == 0 or die "socketpair: $!";
  my ( $given, $kept ) = unpack "ii", $pair;
  my $bytes = bytes($content);
  write_all( $kept, $bytes ) if $bytes ne "";
  set_flag( $given, O_NONBLOCK ) if $flags =~ /n/;
  POSIX::close($kept) if !$peer;
  return ( given => $given, holds => 1, $peer ? ( kept => $kept ) : () );
}

# A pseudo-terminal's slave, with a line typed in. Without echo, which would come at any time.
sub thing_terminal {
  my ($content) = @_;
  my $kept = POSIX::open( "/dev/ptmx", O_RDWR | O_NOCTTY ) // die "/dev/ptmx: $!";
  my ( $unlock, $number ) = ( pack( "i", 0 ), pack( "i", 0 ) );
  syscall( $NR{ioctl}, $kept, $TIOCSPTLCK, $unlock );
  syscall( $NR{ioctl}, $kept, $TIOCGPTN,   $number );
  my $path = "/dev/pts/" . unpack "i", $number;
  my $given = POSIX::open( $path, O_RDWR | O_NOCTTY ) // die "$path: $!";
  my $termios = "\0" x 64;
  syscall( $NR{ioctl}, $given, $TCGETS, $termios );
  substr( $termios, 12, 4 ) = pack "L", unpack( "L", substr $termios, 12, 4 ) & ~$ECHO;
  syscall( $NR{ioctl}, $given, $TCSETS, $termios );
  write_all( $kept, bytes($content) );
  return ( given => $given, kept => $kept );
}

sub thing_directory { return ( given => POSIX::open( $CASE, O_RDONLY | O_DIRECTORY ) ) }
sub thing_place { return ( given => POSIX::open( $CASE, $O_PATH ) ) }
sub thing_timer { return ( given => syscall( $NR{timerfd_create}, 1, 0 ) ) }
sub thing_watcher { return ( given => syscall( $NR{inotify_init1}, 0 ) ) }
sub thing_internet { return ( given => syscall( $NR{socket}, AF_INET, SOCK_DGRAM, 0 ) ) }
sub thing_process { return ( given => syscall( $NR{pidfd_open}, $$ + 0, 0 ) ) }

# Flags as letters: r, w or both; a appends; n does not block.
sub open_flags {
  my ($letters) = @_;
  my $flags = $letters =~ /r/ ? $letters =~ /w/ ? O_RDWR : O_RDONLY : O_WRONLY;
  $flags |= O_APPEND   if $letters =~ /a/;
  $flags |= O_NONBLOCK if $letters =~ /n/;
  return $flags;
}

# All files of the case: `file PATH KIND MODE [CONTENT]`, sorted.
sub files_below {
  my ( $directory, $prefix ) = @_;
  opendir( my $listing, $directory ) or return;
  my @names = sort grep { !/^\.\.?$/ } readdir $listing;
  my @lines;
  for my $name (@names) {
    my $path = "$directory/$name";
    my @stat = lstat $path or next;
    my $mode = sprintf "%o", $stat[2];
    if ( $name =~ /^core(\.\d+)?$/ ) {
      # How large it is may differ by a page; one of the client would be a hundred megabytes.
      push @lines, "file " . hex_of("${prefix}core") . " $mode" . ( $stat[7] > 3e7 ? " huge" : "" );
      next;
    }
    my $content = S_ISREG( $stat[2] ) ? content_of($path) : "";
    push @lines, "file " . hex_of("$prefix$name") . " $mode " . hex_of($content);
    next if !S_ISDIR( $stat[2] ) || $name =~ /^d{250}$/;
    push @lines, files_below( $path, "$prefix$name/" );
  }
  return @lines;
}

# What a file holds, or only how much when it was written to far behind its end.
sub content_of {
  my ($path) = @_;
  open( my $file, "<", $path ) or return "$!";
  return -s $file if -s $file > 1e6;
  local $/;
  return scalar(<$file>) // "";
}

sub clear {
  my ($path) = @_;
  if ( -l $path || !-d _ ) { unlink $path; return }
  chmod 0700, $path;
  if ( -d "$path/" . "d" x 250 ) { system "rm", "-rf", $path; return }
  opendir( my $listing, $path ) or die "$path: $!";
  clear("$path/$_") for grep { !/^\.\.?$/ } readdir $listing;
  closedir $listing;
  rmdir $path or die "rmdir $path: $!";
}

sub write_file {
  my ( $path, $mode, $content ) = @_;
  open( my $file, ">", $path ) or die "$path: $!";
  print {$file} $content;
  close $file or die "$path: $!";
  chmod $mode, $path;
}

sub write_all {
  my ( $fd, $bytes ) = @_;
  while ( length $bytes ) {
    my $count = POSIX::write( $fd, $bytes, length $bytes ) // die "write: $!";
    substr( $bytes, 0, $count ) = "";
  }
}

sub set_flag {
  my ( $fd, $flag ) = @_;
  syscall( $NR{fcntl}, $fd, $F_SETFL, syscall( $NR{fcntl}, $fd, $F_GETFL, 0 ) | $flag );
}

# Moves a descriptor out of the case's way and marks it close-on-exec.
sub high {
  my ($fd) = @_;
  die "a descriptor: $!" if !defined $fd || $fd < 0;
  my $moved = syscall( $NR{fcntl}, $fd + 0, $F_DUPFD_CLOEXEC, $FLOOR );
  die "fcntl: $!" if $moved < 0;
  POSIX::close($fd);
  return $moved;
}

sub in_case { return "$CASE/" . bytes( $_[0] ) }
sub bytes { return pack "H*", substr $_[0], 1 }
sub hex_of { return "x" . unpack "H*", $_[0] }

# The next line of the requests, without its end; undefined when there are no more.
sub next_line {
  for ( ; ; ) {
    return $1 if $unread =~ s/^([^\n]*)\n//;
    my $count = POSIX::read( $requests, my $bytes, 1 << 20 );
    return undef if !defined $count || $count == 0;
    $unread .= substr $bytes, 0, $count;
  }
}

sub put { write_all( $answers, $_[0] ) }
